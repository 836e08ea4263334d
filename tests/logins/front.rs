//! A listener that does nothing but logins: what stands between psql and the server in these tests.
//!
//! It ends TLS on both legs, forwards the startup packet, runs the login, and copies bytes from there on.

use std::io;
use std::sync::Arc;

use bemi::auth::{
    ChannelBindingPolicy, ClientChannel, Login, LoginSettings, MAX_AUTHENTICATION_MESSAGE_LENGTH, Mode,
    UpstreamChannel, Users,
};
use bemi::proxy::login::{Leg, Outcome, entropy, log_in, mock_nonce};
use bemi::tls::generate::Generated;
use bemi::wire::startup::{StartupPacket, announced_len, parse, ssl_request};
use bytes::BytesMut;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How a front logs in.
#[derive(Clone)]
pub struct FrontOptions {
    pub mode: Mode,
    pub server_port: u16,
    /// TLS towards the server.
    pub upstream_tls: bool,
    pub channel_binding: ChannelBindingPolicy,
    pub max_scram_iterations: u32,
    /// Text of a users file.
    pub users: String,
}

/// Listens as long as the runtime lives. Returns the port, which speaks TLS to whoever asks.
pub async fn start(options: FrontOptions, certificates: &Generated) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let users = Users::parse(options.users.as_bytes(), mock_nonce().unwrap()).unwrap();
    let front = Arc::new(Front {
        options,
        users: Arc::new(users),
        acceptor: acceptor(certificates),
        connector: connector(certificates),
        server_end_point: end_point_hash(
            &CertificateDer::from_pem_slice(certificates.cert_pem.as_bytes()).unwrap(),
        ),
    });
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let front = front.clone();
            // A client that breaks off is no failure of the test; what psql says is.
            tokio::spawn(async move {
                let _ = front.serve(client).await;
            });
        }
    });
    port
}

struct Front {
    options: FrontOptions,
    users: Arc<Users>,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    server_end_point: Vec<u8>,
}

impl Front {
    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut client: Box<dyn Stream> = Box::new(client);
        let mut channel = ClientChannel::Plain;
        let packet = loop {
            let packet = read_startup_packet(&mut client).await?;
            match parse(&packet).unwrap() {
                StartupPacket::SslRequest => {
                    client.write_all(b"S").await?;
                    client = Box::new(self.acceptor.accept(client).await?);
                    let server_end_point = Some(self.server_end_point.clone());
                    channel = ClientChannel::Tls { server_end_point };
                }
                StartupPacket::GssEncRequest => client.write_all(b"N").await?,
                StartupPacket::CancelRequest { .. } => return Ok(()),
                StartupPacket::Startup(_) => break packet,
            }
        };
        let StartupPacket::Startup(startup) = parse(&packet).unwrap() else {
            unreachable!("the loop ends with it");
        };
        let user = startup.parameter("user").unwrap().to_vec();
        let (mut server, upstream) = self.connect().await?;
        server.write_all(&packet).await?;
        let login = Login::new(
            LoginSettings {
                mode: self.options.mode,
                user,
                client: channel,
                upstream,
                users: Some(self.users.clone()),
                max_scram_iterations: self.options.max_scram_iterations,
            },
            entropy().unwrap(),
        );
        self.run(&mut client, &mut server, login).await
    }

    async fn run(
        &self,
        client: &mut Box<dyn Stream>,
        server: &mut Box<dyn Stream>,
        login: Login,
    ) -> io::Result<()> {
        let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
        let legs = (
            Leg {
                stream: client,
                buffer: &mut from_client,
            },
            Leg {
                stream: server,
                buffer: &mut from_server,
            },
        );
        let outcome = log_in(legs.0, legs.1, login, MAX_AUTHENTICATION_MESSAGE_LENGTH).await?;
        if matches!(outcome, Outcome::LoggedIn) {
            server.write_all(&from_client).await?;
            client.write_all(&from_server).await?;
            tokio::io::copy_bidirectional(client, server).await?;
        }
        client.shutdown().await
    }

    async fn connect(&self) -> io::Result<(Box<dyn Stream>, UpstreamChannel)> {
        let mut server = TcpStream::connect(("127.0.0.1", self.options.server_port)).await?;
        server.set_nodelay(true)?;
        let channel_binding = self.options.channel_binding;
        if !self.options.upstream_tls {
            let channel = UpstreamChannel {
                server_end_point: None,
                channel_binding,
            };
            return Ok((Box::new(server), channel));
        }
        server.write_all(&ssl_request()).await?;
        assert_eq!(server.read_u8().await?, b'S');
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let server = self.connector.connect(name, server).await?;
        let certificate = &server.get_ref().1.peer_certificates().unwrap()[0];
        let channel = UpstreamChannel {
            server_end_point: Some(end_point_hash(certificate)),
            channel_binding,
        };
        Ok((Box::new(server), channel))
    }
}

async fn read_startup_packet(client: &mut Box<dyn Stream>) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    client.read_exact(&mut packet).await?;
    let length = usize::try_from(announced_len(&packet).unwrap()).unwrap();
    packet.resize(length, 0);
    client.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// The generated certificates are signed with ECDSA and SHA-256.
fn end_point_hash(certificate: &CertificateDer<'_>) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, certificate)
        .as_ref()
        .to_vec()
}

fn acceptor(certificates: &Generated) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(certificates.cert_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificates.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

pub fn connector(certificates: &Generated) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificates.ca_pem.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

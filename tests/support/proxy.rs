//! A proxy in front of a test's server, in the test's own process.

use std::net::SocketAddr;

use bemi::config::{Config, ListenAddress};
use bemi::demo::cluster::Cluster;
use bemi::proxy::{Handle, Proxy};

/// A running proxy; it ends with the test.
pub struct RunningProxy {
    pub address: SocketAddr,
    pub handle: Handle,
}

impl RunningProxy {
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        self.handle.end();
    }
}

/// A proxy with the default configuration in front of this server.
pub async fn start(cluster: &Cluster) -> RunningProxy {
    start_with(cluster, |_| {}).await
}

/// A proxy in front of this server; `adjust` changes the default configuration.
pub async fn start_with(cluster: &Cluster, adjust: impl FnOnce(&mut Config)) -> RunningProxy {
    let url = format!("postgresql://127.0.0.1:{}/?sslmode=disable", cluster.port());
    start_in_front_of(&url, adjust).await
}

/// A proxy in front of what this URL says; `adjust` changes the default configuration.
pub async fn start_in_front_of(url: &str, adjust: impl FnOnce(&mut Config)) -> RunningProxy {
    let mut config = Config::new(url.parse().expect("a URL"));
    config.listen = vec!["127.0.0.1:0".parse::<ListenAddress>().expect("an address")];
    adjust(&mut config);
    let proxy = Proxy::bind(config).await.expect("a proxy");
    let running = RunningProxy {
        address: proxy.local_addresses()[0],
        handle: proxy.handle(),
    };
    // A runtime of its own: it must outlive no test and be slowed down by none.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(proxy.run());
    });
    running
}

/// A runtime that runs beside a test whose own thread blocks on sockets.
pub fn background() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

//! One way to the server, two clients on it, and what they do, which can be done again on another way.

use std::io;

use bemi::wire::backend::tag;

use crate::support::raw::{Frame, RawClient};

/// What happens, in the order it happens.
#[derive(Clone, Debug)]
pub enum Action {
    /// A client that is not there connects.
    Connect(usize),
    /// It sends this and does not wait.
    Send(usize, Vec<u8>),
    /// It reads up to its next ReadyForQuery.
    Read(usize),
    /// It says goodbye.
    Terminate(usize),
    /// It is gone, whatever was under way.
    Vanish(usize),
}

/// A way to the server.
pub struct Lane {
    port: u16,
    database: String,
    clients: [Option<RawClient>; 2],
}

impl Lane {
    pub fn new(port: u16, database: &str) -> Self {
        Self {
            port,
            database: database.to_owned(),
            clients: [None, None],
        }
    }

    /// Does it; what was read, if anything.
    pub fn act(&mut self, action: &Action) -> io::Result<Vec<Frame>> {
        match action {
            Action::Connect(client) => {
                let parameters = [("user", "postgres"), ("database", self.database.as_str())];
                self.clients[*client] = Some(RawClient::connect(self.port, &parameters)?);
            }
            Action::Send(client, bytes) => self.client(*client).write(bytes)?,
            Action::Read(client) => return read_to_ready(self.client(*client)),
            Action::Terminate(client) => {
                self.client(*client)
                    .write(&crate::support::conversation::terminate())?;
                self.clients[*client] = None;
            }
            Action::Vanish(client) => self.clients[*client] = None,
        }
        Ok(Vec::new())
    }

    fn client(&mut self, client: usize) -> &mut RawClient {
        self.clients[client].as_mut().expect("a connected client")
    }
}

fn read_to_ready(client: &mut RawClient) -> io::Result<Vec<Frame>> {
    let mut frames = Vec::new();
    loop {
        let frame = client.frame()?;
        let is_last = frame.tag == tag::READY_FOR_QUERY;
        frames.push(frame);
        if is_last {
            return Ok(frames);
        }
    }
}

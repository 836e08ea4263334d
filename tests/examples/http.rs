//! As much of HTTP as the visitors need: a connection for each request, which the answer ends.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Json,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Null where the body is no JSON.
    pub body: Json,
}

/// Asks an application on 127.0.0.1, in the name of a user if there is one.
pub async fn ask(port: u16, user: Option<i64>, request: &Request) -> Result<Answer, String> {
    tokio::time::timeout(PATIENCE, exchange(port, user, request))
        .await
        .map_err(|_| "no answer".to_owned())?
}

async fn exchange(port: u16, user: Option<i64>, request: &Request) -> Result<Answer, String> {
    let Request { method, path, body } = request;
    let body = body.to_string();
    let user = user.map_or_else(String::new, |user| format!("X-User-Id: {user}\r\n"));
    // Version 1.0: nobody answers it in chunks.
    let said = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{user}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut heard = Vec::new();
    let conversation = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(said.as_bytes()).await?;
        stream.read_to_end(&mut heard).await
    };
    conversation.await.map_err(|error| error.to_string())?;
    parse(&heard).ok_or_else(|| format!("this is no HTTP: {}", heard.escape_ascii()))
}

fn parse(heard: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(heard).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        body: serde_json::from_str(body).unwrap_or_default(),
    })
}

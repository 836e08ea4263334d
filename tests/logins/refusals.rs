//! Clients that break the rules: the proxy's words are the server's words.

//! A panic in a thread of the proxy fails the test that caused it: the connection would end, and nobody would know why.

use std::sync::{Mutex, Once, PoisonError};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Watches from here to the end of the test.
#[must_use]
pub struct Watch(());

/// Begins to watch.
pub fn watch() -> Watch {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Threads of tests have the names of tests; the proxy's have its own or none.
            let thread = std::thread::current();
            let is_of_the_proxy = thread
                .name()
                .is_none_or(|name| name.starts_with("bemi") || name.starts_with("tokio"));
            if is_of_the_proxy {
                seen().push(panic.to_string());
            }
            default(panic);
        }));
    });
    Watch(())
}

fn seen() -> std::sync::MutexGuard<'static, Vec<String>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(*seen(), [""; 0], "panics in threads of the proxy");
        }
    }
}

//! Ways in beside the blocking one, each behind a feature.

mod on_tokio;

pub use on_tokio::AsyncPortcullis;

//! What the operator tells the process by signals: to stop, and to read its settings again.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::pool::event::Event;
use crate::settings::Settings;

/// At each SIGHUP reads the settings again and passes on what they come to. A reading that gives
/// nothing has said why, and changes nothing.
pub(super) async fn heed_hangups(
    started: Settings,
    mut reread: impl FnMut() -> Option<Settings> + Send,
    newer: mpsc::Sender<Event>,
) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return warn!("SIGHUP will not be heard: {error}"),
    };
    let mut last = started.clone();
    while hangups.recv().await.is_some() {
        let Some(settings) = reread() else { continue };
        let (terms, others) = (last.changed_terms(&settings), started.changed_otherwise(&settings));
        if terms.is_empty() {
            info!("settings read again: nothing that can change while the server runs is other");
        } else {
            info!("settings read again: {} changed, and count from now on", terms.join(", "));
        }
        if !others.is_empty() {
            warn!("{} changed too, and will count after a restart", others.join(", "));
        }
        last = settings;
        // The end of the server is no news here.
        newer.send(Event::Reconfigured(Box::new(super::config(&last)))).await.unwrap_or_default();
    }
}

/// Done at the first SIGINT or SIGTERM.
pub(super) async fn stop() {
    let (told, mut stop) = mpsc::channel::<()>(1);
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let told = told.clone();
        match signal(kind) {
            Ok(mut signals) => {
                tokio::spawn(async move {
                    signals.recv().await;
                    // A second signal finds the channel full or closed: it was said already.
                    told.try_send(()).unwrap_or_default();
                });
            }
            Err(error) => tracing::warn!("this signal will not be heard: {error}"),
        }
    }
    drop(told);
    if stop.recv().await.is_none() {
        // Nobody can tell us; that is no reason to stop.
        core::future::pending::<()>().await;
    }
}

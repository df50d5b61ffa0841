//! The real server, started in this process the way a user starts it: by its settings.
//!
//! It has a data directory of its own that goes away with it, and a port that the system chose.
//! Why in this process: a test sees its totals, and a panic of the server is one of the test. Where
//! it has to be killed it is a [`process`] of its own.

pub mod process;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use server::pool::Counters;
use server::runtime::{Inherited, ServeError, open_door, serve_until};
use server::settings::{self, SettingsError};
use simminer::runtime::Options;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How often a server is knocked at that lets nobody in yet.
const KNOCK_POLL: Duration = Duration::from_millis(10);
/// How long a server may take until it has work: its node may have just been started.
const OPEN_PATIENCE: Duration = Duration::from_mins(1);

/// Why a server could not be started, or how it ended.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The settings made no sense.
    #[error("the server's settings are refused: {0}")]
    Settings(String),
    /// There is no place for its files.
    #[error("no data directory for the server: {0}; is the temporary folder writable?")]
    DataDir(std::io::Error),
    /// It could not start, or could not go on.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its address cannot be told.
    #[error("the server's own address is unknown: {0}")]
    Address(std::io::Error),
    /// It lets nobody in.
    #[error(
        "the server lets no miner in {} s after its start: has its node a template?",
        OPEN_PATIENCE.as_secs()
    )]
    Shut,
    /// It panicked.
    #[error("the server panicked: {0}")]
    Panicked(tokio::task::JoinError),
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    counters: watch::Receiver<Counters>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
    data_dir: TempDir,
}

impl RunningServer {
    /// Starts a server with `environment`, names and values as in a `.env` file. `DATA_DIR` is
    /// added; miners find it on loopback at [`Self::address`] unless the environment says where.
    pub async fn start(environment: &[(&str, String)]) -> Result<Self, StackError> {
        Self::start_with_file(environment, "").await
    }

    /// The same, with a settings file that says this.
    pub async fn start_with_file(
        environment: &[(&str, String)],
        toml: &str,
    ) -> Result<Self, StackError> {
        let data_dir = TempDir::new().map_err(StackError::DataDir)?;
        let mut known: BTreeMap<String, OsString> = BTreeMap::new();
        known.insert("STRATUM_HOST".to_owned(), "127.0.0.1".into());
        known.insert("STRATUM_PORT".to_owned(), "0".into());
        known.insert("DATA_DIR".to_owned(), data_dir.path().into());
        known.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), value.into())));
        let file = |path: &std::path::Path| match path.extension() {
            Some(extension) if extension == "toml" => Ok(toml.to_owned()),
            Some(_) | None => Err(std::io::ErrorKind::NotFound.into()),
        };
        let loaded = settings::load(["drivechain-stratum".into()].into_iter(), &known, &file)
            .map_err(|error| StackError::Settings(explain(&error)))?;
        let door = open_door(&loaded.settings, Inherited::default()).await?;
        let address = door.address().map_err(StackError::Address)?;
        let (totals, counters) = watch::channel(Counters::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let asked = async {
                // A dropped sender asks for a stop as well.
                stopped.await.unwrap_or_default();
            };
            serve_until(&loaded.settings, door, totals, mpsc::channel(1).1, asked).await
        });
        Ok(Self { address, counters, stop, task, data_dir })
    }

    /// Where miners connect to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until miners are let in, which is a moment after the first job: its totals tell of
    /// the job, and nothing but a connection tells of the door.
    pub async fn until_open(&self) -> Result<(), StackError> {
        let open = async {
            let mut poll = tokio::time::interval(KNOCK_POLL);
            while TcpStream::connect(self.address).await.is_err() {
                poll.tick().await;
            }
        };
        tokio::time::timeout(OPEN_PATIENCE, open).await.map_err(|_elapsed| StackError::Shut)
    }

    /// The server's totals, now and as they change.
    pub fn counters(&self) -> watch::Receiver<Counters> {
        self.counters.clone()
    }

    /// Where its journal and found blocks are.
    pub fn data_dir(&self) -> &std::path::Path {
        self.data_dir.path()
    }

    /// Whether it ended by itself.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Asks it to stop and waits until it did.
    pub async fn stop(self) -> Result<(), StackError> {
        // A server that ended already needs no asking.
        self.stop.send(()).unwrap_or_default();
        Ok(self.task.await.map_err(StackError::Panicked)??)
    }

    /// What a miner of ours needs to mine here.
    pub fn miner(&self, user: &str) -> Result<Options, simminer::runtime::EndpointError> {
        let endpoint = format!("stratum+tcp://{}", self.address).parse()?;
        Ok(Options::new(endpoint, user))
    }
}

fn explain(error: &SettingsError) -> String {
    match error {
        SettingsError::Usage(usage) => usage.to_string(),
        SettingsError::Invalid { problems, .. } => problems.join("; "),
    }
}

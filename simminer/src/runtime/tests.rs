//! The miner without hashing, over connections in memory and a clock that jumps: when it gives up,
//! when it comes back, where it goes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::time::Instant;

use super::*;

/// What the other end of one connection does.
#[derive(Clone, Debug)]
enum Script {
    /// Nobody listens.
    Refuse,
    /// Says these lines at once, then closes.
    Say(&'static str),
    /// Says these lines, then nothing, and never closes.
    SayAndStay(&'static str),
}

/// Connections that follow one script after the other; the last one again and again.
#[derive(Clone)]
struct Scripted {
    scripts: Vec<Script>,
    /// Each connection that was tried: when and to which port.
    tried: Arc<Mutex<Vec<(Instant, u16)>>>,
}

impl Scripted {
    fn new(scripts: &[Script]) -> Self {
        Self { scripts: scripts.to_vec(), tried: Arc::default() }
    }

    fn tried(&self) -> Vec<(Instant, u16)> {
        self.tried.lock().unwrap().clone()
    }
}

impl Connect for Scripted {
    type Io = DuplexStream;

    async fn connect(&self, to: &Endpoint) -> io::Result<DuplexStream> {
        let count = {
            let mut tried = self.tried.lock().unwrap();
            tried.push((Instant::now(), to.port));
            tried.len()
        };
        let script = self.scripts.get(count - 1).or_else(|| self.scripts.last()).unwrap().clone();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (lines, stay) = match script {
            Script::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
            Script::Say(lines) => (lines, false),
            Script::SayAndStay(lines) => (lines, true),
        };
        tokio::spawn(async move {
            let (reader, mut writer) = tokio::io::split(far);
            // The opening's last line comes before any answer.
            let mut opening = BufReader::new(reader).lines();
            while let Ok(Some(line)) = opening.next_line().await {
                if line.contains("mining.authorize") {
                    break;
                }
            }
            writer.write_all(lines.as_bytes()).await.unwrap();
            if stay {
                while let Ok(Some(_)) = opening.next_line().await {}
            }
        });
        Ok(near)
    }
}

const ANSWERS: &str = "{\"id\":1,\"result\":{\"version-rolling\":false}}\n\
                       {\"id\":2,\"result\":[[],\"00000001\",8]}\n\
                       {\"id\":3,\"result\":true}\n{\"id\":4,\"result\":true}\n";

/// Runs a miner that hashes nothing for a while of simulated time; returns its events as well.
async fn watch(
    connect: &Scripted,
    retries: Option<u64>,
    time: Duration,
) -> (Result<Summary, MinerError>, Vec<MinerEvent>) {
    let endpoint: Endpoint = "stratum+tcp://pool.example:3333".parse().unwrap();
    let options = Options { threads: 0, retries, ..Options::new(endpoint, "someone") };
    let (events, mut heard) = mpsc::channel(1024);
    let stop = tokio::time::sleep(time);
    let outcome = run_over(connect.clone(), options, events, stop).await;
    let mut all = vec![];
    while let Some(event) = heard.recv().await {
        if !matches!(event, MinerEvent::Rate { .. }) {
            all.push(event);
        }
    }
    (outcome, all)
}

fn reasons(events: &[MinerEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| {
            if let MinerEvent::Disconnected { why } = event { Some(why.as_str()) } else { None }
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn gives_up_when_the_retries_are_used_up() {
    let connect = Scripted::new(&[Script::Refuse]);
    let (outcome, _) = watch(&connect, Some(4), Duration::from_hours(1)).await;
    let error = outcome.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot mine at stratum+tcp://pool.example:3333, given up after 5 attempts: \
         cannot connect: connection refused; check that the server runs and that host and port \
         are right"
    );
    assert_eq!(error.summary().unwrap().reconnects, 0);
    // The pauses double.
    let tried = connect.tried();
    let pauses: Vec<u128> =
        tried.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect();
    assert_eq!(pauses.len(), 4);
    for (pause, expected) in pauses.iter().zip([100, 200, 400, 800]) {
        assert!((expected..expected + 5).contains(pause), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_it_tries_on_and_at_most_every_half_minute() {
    let connect = Scripted::new(&[Script::Refuse]);
    let (outcome, _) = watch(&connect, None, Duration::from_hours(1)).await;
    let summary = outcome.unwrap();
    assert_eq!(summary.last_error.as_deref(), Some("cannot connect: connection refused"));
    let tried = connect.tried();
    assert!((120..140).contains(&tried.len()), "{}", tried.len());
    assert!(tried.windows(2).all(|pair| pair[1].0 - pair[0].0 <= Duration::from_millis(30_005)));
}

#[tokio::test(start_paused = true)]
async fn a_session_resets_the_count_of_failures() {
    let connect = Scripted::new(&[
        Script::Refuse,
        Script::Refuse,
        Script::Say(ANSWERS),
        Script::Refuse,
        Script::Refuse,
        Script::SayAndStay(ANSWERS),
    ]);
    let (outcome, events) = watch(&connect, Some(2), Duration::from_mins(1)).await;
    assert_eq!(outcome.unwrap().reconnects, 1);
    assert_eq!(events.iter().filter(|event| **event == MinerEvent::Authorized).count(), 2);
    assert_eq!(reasons(&events)[2], "the server closed the connection");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_closes_counts_as_a_failure() {
    let connect = Scripted::new(&[Script::Say("")]);
    let (outcome, _) = watch(&connect, Some(3), Duration::from_mins(10)).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("after 4 attempts: the server closed the connection"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_authorization_ends_the_run_with_the_reason() {
    let connect = Scripted::new(&[Script::SayAndStay(
        "{\"id\":2,\"result\":[[],\"00\",8]}\n{\"id\":4,\"error\":[24,\"who?\",null]}\n",
    )]);
    let (outcome, _) = watch(&connect, None, Duration::from_mins(10)).await;
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "stratum+tcp://pool.example:3333 refused to authorize \"someone\": who? (code 24); \
         check --user and --pass"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_ends_the_run_with_the_reason() {
    let connect = Scripted::new(&[Script::SayAndStay("{\"id\":2,\"error\":\"full\"}\n")]);
    let (outcome, _) = watch(&connect, None, Duration::from_mins(10)).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, MinerError::SubscribeRefused { refusal, .. } if refusal.message == "full")
    );
    let last_error = error.summary().unwrap().last_error.as_deref();
    assert_eq!(last_error, Some("mining.subscribe refused: full"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_the_opening_unanswered_is_left_after_a_minute() {
    let connect = Scripted::new(&[Script::SayAndStay("")]);
    let (_, events) = watch(&connect, None, Duration::from_secs(65)).await;
    assert_eq!(reasons(&events), ["the server left a request unanswered for 60s"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_left_after_three_minutes() {
    let connect = Scripted::new(&[Script::SayAndStay(ANSWERS)]);
    let (outcome, events) = watch(&connect, None, Duration::from_secs(185)).await;
    assert_eq!(reasons(&events), ["the server was silent for 180s"]);
    assert_eq!(outcome.unwrap().reconnects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_is_followed_on_the_same_host_after_its_wait() {
    const MOVED: &str = "{\"id\":2,\"result\":[[],\"00\",8]}\n{\"id\":4,\"result\":true}\n\
        {\"id\":null,\"method\":\"client.reconnect\",\"params\":[\"POOL.example\",4444,7]}\n";
    let connect = Scripted::new(&[
        Script::SayAndStay(MOVED),
        // The new port is dead: back to the one of the command line.
        Script::Refuse,
        Script::SayAndStay(ANSWERS),
    ]);
    let (_, events) = watch(&connect, None, Duration::from_mins(1)).await;
    let tried = connect.tried();
    let ports: Vec<u16> = tried.iter().map(|(_, port)| *port).collect();
    assert_eq!(ports, [3333, 4444, 3333]);
    assert!(tried[1].0 - tried[0].0 >= Duration::from_secs(7));
    let moved = "the server asked to reconnect to stratum+tcp://pool.example:4444";
    assert_eq!(reasons(&events)[0], moved);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_without_parameters_comes_back_to_the_same_port() {
    const AGAIN: &str = "{\"id\":2,\"result\":[[],\"00\",8]}\n{\"id\":4,\"result\":true}\n\
        {\"id\":null,\"method\":\"client.reconnect\",\"params\":[]}\n";
    let connect = Scripted::new(&[Script::SayAndStay(AGAIN), Script::SayAndStay(ANSWERS)]);
    let (outcome, _) = watch(&connect, None, Duration::from_mins(1)).await;
    let ports: Vec<u16> = connect.tried().iter().map(|(_, port)| *port).collect();
    assert_eq!(ports, [3333, 3333]);
    assert_eq!(outcome.unwrap().reconnects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_to_another_host_is_not_followed() {
    const AWAY: &str = "{\"id\":2,\"result\":[[],\"00\",8]}\n{\"id\":4,\"result\":true}\n\
        {\"id\":null,\"method\":\"client.reconnect\",\"params\":[\"evil.example\",3333]}\n";
    let connect = Scripted::new(&[Script::SayAndStay(AWAY)]);
    let (_, events) = watch(&connect, None, Duration::from_mins(1)).await;
    assert_eq!(connect.tried().len(), 1);
    let complaint = "client.reconnect to another host, evil.example, was not followed";
    assert_eq!(events.last(), Some(&MinerEvent::Complaint(complaint.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn an_event_channel_that_is_full_holds_nothing_up() {
    let connect = Scripted::new(&[Script::SayAndStay(ANSWERS)]);
    let endpoint: Endpoint = "tcp://pool.example:3333".parse().unwrap();
    let options = Options { threads: 0, ..Options::new(endpoint, "someone") };
    let (events, heard) = mpsc::channel(1);
    let stop = tokio::time::sleep(Duration::from_secs(10));
    let summary = run_over(connect, options, events, stop).await.unwrap();
    assert_eq!(heard.len(), 1);
    assert!(summary.events_dropped >= 10, "{summary:?}");
}

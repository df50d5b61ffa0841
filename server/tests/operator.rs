//! What an operator does to a server that runs: other settings by SIGHUP, a restart behind a socket
//! that somebody else holds.

#![cfg(feature = "runtime")]
#![expect(clippy::disallowed_methods, reason = "a test of the whole process touches the machine")]
#![expect(clippy::expect_used, clippy::panic, reason = "what fails here fails its test")]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

#[path = "support/folder.rs"]
#[expect(dead_code, reason = "shell.rs uses the rest")]
mod folder;
#[path = "support/miner.rs"]
#[expect(dead_code, reason = "shell.rs uses the rest")]
mod miner;
#[path = "support/node.rs"]
#[expect(dead_code, reason = "shell.rs uses the rest")]
mod node;
#[path = "support/process.rs"]
mod process;

use folder::Folder;
use miner::Miner;
use node::Node;
use process::Process;

#[test]
fn a_hangup_brings_what_can_change_and_names_what_cannot() {
    let (node, folder) = (Node::start(), Folder::of("hangup"));
    let settings = folder.path().join(".env");
    fs::write(&settings, "JOB_REFRESH_INTERVAL=30\n").expect("the folder is ours");
    let mut process = Process::start(node.port(), &folder, &[]);
    let mut miner = Miner::connect(process.address());

    let changed = "JOB_REFRESH_INTERVAL=20\nLOG_LEVEL=debug\nMAX_TIP_AGE=900\nSOLO_PAYOUT=on\n";
    fs::write(&settings, changed).expect("the folder is ours");
    process.signal("HUP");
    let line = process.says("count from now on");
    for name in ["JOB_REFRESH_INTERVAL", "MAX_TIP_AGE", "LOG_LEVEL"] {
        assert!(line.contains(name), "{line}");
    }
    let line = process.says("after a restart");
    assert!(line.contains("solo mining") && line.contains("WARN"), "{line}");
    miner.next_job();

    fs::write(&settings, "JOB_REFRESH_INTERVAL=never\n").expect("the folder is ours");
    process.signal("HUP");
    let line = process.says("settings stay as they were");
    assert!(line.contains("JOB_REFRESH_INTERVAL") && line.contains("ERROR"), "{line}");

    fs::write(&settings, changed).expect("the folder is ours");
    process.signal("HUP");
    process.says("nothing that can change while the server runs is other");
    let id = miner.submit_block();
    miner.accepted(id);
    process.stops();
}

/// Starts the server as systemd does: with the socket as descriptor 3, and told so.
fn activated(socket: &TcpListener, node: &Node, folder: &Folder, port: u16) -> Process {
    let mut shell = Command::new("/bin/sh");
    // The process that `exec` leaves has the number of the shell.
    let start = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" 3<&0 </dev/null";
    shell.args(["-c", start, env!("CARGO_BIN_EXE_drivechain-stratum")]);
    let socket: OwnedFd = socket.try_clone().expect("a handle more").into();
    let port = port.to_string();
    let more = [("STRATUM_PORT", port.as_str())];
    Process::start_by(shell, Stdio::from(socket), node.port(), folder, &more)
}

fn held() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it has one");
    (socket, address)
}

#[test]
fn who_connects_during_a_restart_waits_and_is_not_refused() {
    let (node, folder) = (Node::start(), Folder::of("activated"));
    let (socket, address) = held();
    let mut process = activated(&socket, &node, &folder, address.port());
    assert_eq!(process.address(), address);
    let mut miner = Miner::connect(address);
    let id = miner.submit_block();
    miner.accepted(id);
    process.stops();
    let between = TcpStream::connect(address).expect("nobody is refused");
    let process = activated(&socket, &node, &folder, address.port());
    let mut miner = Miner::over(between);
    let id = miner.submit_block();
    miner.accepted(id);
    process.stops();
}

#[test]
fn a_socket_that_no_setting_speaks_of_ends_it() {
    let (node, folder) = (Node::start(), Folder::of("unspoken"));
    let (socket, address) = held();
    let (other, elsewhere) = held();
    drop(other);
    let process = activated(&socket, &node, &folder, elsewhere.port());
    process.refuses(1, &[&address.to_string(), "STRATUM_PORT", ".socket unit"]);
}

//! From an image to a node that answers: command line, ports, waiting.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::RemoveContainerOptionsBuilder;
use testcontainers::core::IntoContainerPort as _;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{GenericImage, ImageExt as _};

use super::{Bitcoind, BitcoindOptions, RPC_PASSWORD, RPC_USER, docker_failed};
use crate::containers::ContainerError;
use crate::containers::image::ImageName;

/// Where RPC listens inside the container: regtest's own default.
const RPC_PORT_INSIDE: u16 = 18443;
/// Where ZMQ publishes inside the container.
const ZMQ_PORT_INSIDE: u16 = 28332;
/// A free port can be taken by somebody else before Docker binds it. That happens once in a while,
/// not five times in a row.
const PORT_ATTEMPTS_MAX: u32 = 5;
/// A node on an empty chain answers a second or two after its start; a busy machine takes longer.
const READY_SECONDS_MAX: u64 = 90;
/// How often a node that does not answer yet is asked again.
const READY_POLL: Duration = Duration::from_millis(50);
/// How much of the log is shown when a node does not start.
const LOG_LINES_SHOWN: usize = 12;

/// Creates and starts the container. The node in it may not answer yet.
pub(super) async fn launch(
    docker: Docker,
    image: &ImageName,
    options: &BitcoindOptions,
) -> Result<Bitcoind, ContainerError> {
    let mut attempt = 1;
    loop {
        let (rpc_port, zmq_port) = free_ports().map_err(docker_failed("find free ports"))?;
        let name = container_name();
        let request = GenericImage::new(&image.repository, &image.tag)
            .with_entrypoint("bitcoind")
            .with_exposed_port(RPC_PORT_INSIDE.tcp())
            .with_exposed_port(ZMQ_PORT_INSIDE.tcp())
            .with_container_name(&name)
            .with_cmd(arguments(options))
            .with_host_config_modifier(move |host| {
                // testcontainers would publish on all interfaces, and on another port after
                // every restart.
                host.publish_all_ports = Some(false);
                host.port_bindings = Some(
                    [(RPC_PORT_INSIDE, rpc_port), (ZMQ_PORT_INSIDE, zmq_port)]
                        .map(|(inside, outside)| {
                            (format!("{inside}/tcp"), Some(vec![on_loopback(outside)]))
                        })
                        .into(),
                );
            });
        let cause = match request.start().await {
            Ok(container) => {
                return Ok(Bitcoind { container: Some(container), docker, rpc_port, zmq_port });
            }
            Err(cause) => cause.to_string(),
        };
        // A container that was created but could not be started has no owner yet.
        let forced = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        if let Err(error) = docker.remove_container(&name, Some(forced)).await {
            tracing::debug!(%error, name, "nothing to remove");
        }
        let port_taken =
            cause.contains("already allocated") || cause.contains("address already in use");
        if !port_taken || attempt == PORT_ATTEMPTS_MAX {
            return Err(ContainerError::Docker { action: "start a bitcoind container", cause });
        }
        attempt += 1;
    }
}

/// Waits until RPC answers with something other than "still warming up".
pub(super) async fn until_ready(node: &Bitcoind) -> Result<(), ContainerError> {
    let client = node.client().with_patience(Duration::from_secs(5));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
    let mut poll = tokio::time::interval(READY_POLL);
    loop {
        poll.tick().await;
        let Err(failure) = client.call("getblockchaininfo", json!([])).await else {
            return Ok(());
        };
        let running = node.container().is_running().await;
        if !running.map_err(docker_failed("look at the node"))? {
            return Err(ContainerError::Ended { program: "bitcoind", log: last_lines(node).await });
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(ContainerError::NotReady {
                program: "bitcoind",
                seconds: READY_SECONDS_MAX,
                failure: Box::new(failure),
                log: last_lines(node).await,
            });
        }
    }
}

fn arguments(options: &BitcoindOptions) -> Vec<String> {
    let fixed = [
        "-regtest".to_owned(),
        "-server".to_owned(),
        "-printtoconsole".to_owned(),
        // No peers: the chain is what the test makes of it.
        "-listen=0".to_owned(),
        "-txindex=1".to_owned(),
        "-rest=1".to_owned(),
        // Regtest has no fee history to estimate from.
        "-fallbackfee=0.0002".to_owned(),
        format!("-rpcuser={RPC_USER}"),
        format!("-rpcpassword={RPC_PASSWORD}"),
        // Inside the container only: Docker publishes the port on the host's loopback.
        "-rpcbind=0.0.0.0".to_owned(),
        "-rpcallowip=0.0.0.0/0".to_owned(),
        format!("-zmqpubhashblock=tcp://0.0.0.0:{ZMQ_PORT_INSIDE}"),
        format!("-zmqpubsequence=tcp://0.0.0.0:{ZMQ_PORT_INSIDE}"),
    ];
    fixed.into_iter().chain(options.extra_arguments.iter().cloned()).collect()
}

/// Two ports that nobody listened on a moment ago. Both are held until both are known, or the
/// system might give the same one twice.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

fn on_loopback(port: u16) -> PortBinding {
    PortBinding {
        host_ip: Some(Ipv4Addr::LOCALHOST.to_string()),
        host_port: Some(port.to_string()),
    }
}

/// Unique among the processes of this machine, and says whose a forgotten container is.
fn container_name() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    format!("drivechain-stratum-bitcoind-{}-{number}", std::process::id())
}

async fn last_lines(node: &Bitcoind) -> String {
    let container = node.container();
    let mut log = container.stdout_to_vec().await.unwrap_or_default();
    log.extend(container.stderr_to_vec().await.unwrap_or_default());
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join(" | ")
}

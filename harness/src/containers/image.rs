//! Whether containers are wanted, whether Docker answers, and which image to start.
//!
//! Asked before anything is started, so that a machine without Docker gives one line that says how
//! to get it and not a stack of client errors. Nothing is skipped in silence: tests are left out
//! only by `HARNESS_CONTAINERS=off`, and each says so.

use std::io::Write as _;
use std::time::Duration;

use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as DockerError;

use super::ContainerError;

/// `on` (the default) or `off`.
pub const POLICY_VARIABLE: &str = "HARNESS_CONTAINERS";
/// Names another image of a bitcoind than [`BITCOIND_IMAGE_DEFAULT`].
pub const BITCOIND_IMAGE_VARIABLE: &str = "BITCOIND_IMAGE";
/// What `ci/images/bitcoind` builds.
pub const BITCOIND_IMAGE_DEFAULT: &str = "drivechain-stratum/bitcoind:knots-sid";
/// A daemon that is alive answers its ping in milliseconds.
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// What the environment says about containers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// Start them; without a daemon the test fails.
    On,
    /// Leave the tests that need them out.
    Off,
}

/// An image by the two parts of its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageName {
    /// Everything before the tag, a registry's port included.
    pub repository: String,
    /// `latest` where none was said.
    pub tag: String,
}

impl ImageName {
    /// Splits `repository[:tag]`.
    pub fn parse(text: &str) -> Self {
        let (repository, tag) = match text.rsplit_once(':') {
            // A colon before the last slash belongs to the port of a registry.
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            Some(_) | None => (text, "latest"),
        };
        Self { repository: repository.to_owned(), tag: tag.to_owned() }
    }
}

impl std::fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.repository, self.tag)
    }
}

/// What `HARNESS_CONTAINERS` asks for.
pub fn policy() -> Result<Policy, ContainerError> {
    parse_policy(std::env::var(POLICY_VARIABLE).ok().as_deref())
}

/// Whether the test of this name should run. Says on standard error when it is left out, past the
/// test runner's capture, and fails on a value of `HARNESS_CONTAINERS` that means nothing.
pub fn wanted(test: &str) -> Result<bool, ContainerError> {
    match policy()? {
        Policy::On => Ok(true),
        Policy::Off => {
            // Written to the stream itself: the test runner swallows what eprintln! says in a test
            // that passes. A closed stream is no reason to fail.
            writeln!(std::io::stderr(), "LEFT OUT by {POLICY_VARIABLE}=off: {test}").ok();
            Ok(false)
        }
    }
}

/// Which bitcoind image to start: `BITCOIND_IMAGE`, or the one that `ci/images/bitcoind` builds.
pub fn bitcoind_image() -> ImageName {
    let name = std::env::var(BITCOIND_IMAGE_VARIABLE).ok().filter(|name| !name.is_empty());
    ImageName::parse(name.as_deref().unwrap_or(BITCOIND_IMAGE_DEFAULT))
}

/// Asks the daemon whether it is there and has the image, and gives a connection to it.
pub async fn require(image: &ImageName) -> Result<Docker, ContainerError> {
    let docker = Docker::connect_with_defaults()
        .map_err(|error| ContainerError::NoDaemon(error.to_string()))?;
    probe(&docker, image).await?;
    Ok(docker)
}

async fn probe(docker: &Docker, image: &ImageName) -> Result<(), ContainerError> {
    match tokio::time::timeout(PING_PATIENCE, docker.ping()).await {
        Ok(Ok(_answer)) => {}
        Ok(Err(error)) => return Err(ContainerError::NoDaemon(error.to_string())),
        Err(elapsed) => return Err(ContainerError::NoDaemon(elapsed.to_string())),
    }
    match docker.inspect_image(&image.to_string()).await {
        Ok(_image) => Ok(()),
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
            Err(ContainerError::NoImage(image.to_string()))
        }
        Err(error) => {
            Err(ContainerError::Docker { action: "look for the image", cause: error.to_string() })
        }
    }
}

fn parse_policy(value: Option<&str>) -> Result<Policy, ContainerError> {
    match value {
        None | Some("on" | "") => Ok(Policy::On),
        Some("off") => Ok(Policy::Off),
        Some(other) => Err(ContainerError::Policy(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_on_off_or_an_error() {
        assert_eq!(parse_policy(None).unwrap(), Policy::On);
        assert_eq!(parse_policy(Some("on")).unwrap(), Policy::On);
        assert_eq!(parse_policy(Some("off")).unwrap(), Policy::Off);
        let error = parse_policy(Some("no")).unwrap_err().to_string();
        assert_eq!(error, r#"HARNESS_CONTAINERS is "no": say on (the default) or off"#);
    }

    #[test]
    fn an_image_name_splits_at_its_tag() {
        let parts = |text| {
            let name = ImageName::parse(text);
            (name.repository, name.tag)
        };
        assert_eq!(parts("a/b:c"), ("a/b".to_owned(), "c".to_owned()));
        assert_eq!(parts("a/b"), ("a/b".to_owned(), "latest".to_owned()));
        assert_eq!(parts("host:5000/b"), ("host:5000/b".to_owned(), "latest".to_owned()));
        assert_eq!(parts("host:5000/b:c"), ("host:5000/b".to_owned(), "c".to_owned()));
    }

    #[tokio::test]
    async fn without_a_daemon_one_line_says_how_to_get_one() {
        let folder = std::env::temp_dir().join("drivechain-stratum-no-such-daemon.sock");
        let address = format!("unix://{}", folder.display());
        let nobody = Docker::connect_with_unix(
            &address,
            PING_PATIENCE.as_secs(),
            testcontainers::bollard::API_DEFAULT_VERSION,
        );
        let error = match nobody {
            Ok(docker) => probe(&docker, &bitcoind_image()).await.unwrap_err(),
            Err(error) => ContainerError::NoDaemon(error.to_string()),
        };
        let line = error.to_string();
        assert!(line.starts_with("no Docker daemon answers"), "{line}");
        assert!(line.contains("run ci/setup"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

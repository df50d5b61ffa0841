//! Where a node keeps a block that is not in its chain (`getchaintips`).

use bytes::Bytes;
use serde::Deserialize;

use super::{CallError, HttpReply, RpcError, read, read_hash, request};
use crate::mining::hash::Hash;

/// What a node thinks of a branch of the block tree.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Branch {
    /// It is the chain.
    Active,
    /// All its blocks are valid, and the chain has more work or was there first.
    ValidFork,
    /// Its blocks are there and were not checked to the end.
    ValidHeaders,
    /// Not all its blocks are there.
    HeadersOnly,
    /// A block in it is invalid, or was called that (`invalidateblock`).
    Invalid,
    /// Something else.
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct WireTip {
    hash: String,
    status: Branch,
}

/// Asks for the ends of all branches.
pub fn chain_tips_request() -> Bytes {
    request("getchaintips", "[]")
}

/// The branch that ends with this block, if one does.
pub fn branch(
    reply: &Result<HttpReply, CallError>,
    block: &Hash,
) -> Result<Option<Branch>, RpcError> {
    let tips: Vec<WireTip> = read(reply)?;
    let its = tips.iter().find(|tip| read_hash(&tip.hash).as_ref() == Some(block));
    Ok(its.map(|tip| tip.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_known_by_its_end() {
        let of = |status: &str| {
            let tip = |byte: &str, status: &str| {
                let hash = byte.repeat(32);
                format!(
                    "{{\"height\":2,\"hash\":\"{hash}\",\"branchlen\":1,\"status\":{status:?}}}"
                )
            };
            let tips = [tip("01", "active"), tip("02", status)].join(",");
            let body = format!("{{\"result\":[{tips}],\"id\":1}}").into();
            let reply = Ok(HttpReply { status: 200, body });
            [[1; 32], [2; 32], [3; 32]].map(|hash| branch(&reply, &hash).ok().flatten())
        };
        for (status, expected) in [
            ("valid-fork", Branch::ValidFork),
            ("valid-headers", Branch::ValidHeaders),
            ("headers-only", Branch::HeadersOnly),
            ("invalid", Branch::Invalid),
            ("lost", Branch::Unknown),
        ] {
            assert_eq!(of(status), [Some(Branch::Active), Some(expected), None]);
        }
        assert!(branch(&Err(CallError::Timeout), &[1; 32]).is_err());
    }
}

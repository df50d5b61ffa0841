//! What is ground is read back from its lines and hashed again.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use simminer::work::{Job, NotifyStrings};

use super::*;

fn work(extranonce1: u8, difficulty: &str) -> Work {
    let zeros = "0".repeat(64);
    let job = Job::from_strings(&NotifyStrings {
        job_id: "job \"1\"",
        previous_block: &zeros,
        coinbase1: "01",
        coinbase2: "02",
        branch: std::slice::from_ref(&zeros),
        version: "20000000",
        bits: "1d00ffff",
        time: "65000000",
        clean: true,
    });
    Work {
        job: Arc::new(job.unwrap()),
        session: 1,
        serial: 1,
        extranonce1: vec![extranonce1],
        extranonce2: vec![0; 10],
        version_mask: 0,
        rolled_bits: 0,
        difficulty: difficulty.parse().unwrap(),
    }
}

fn lines_of(shares: &mut Shares) -> Vec<String> {
    let mut lines = Vec::new();
    while shares.take(7, &mut lines) > 0 {}
    String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_line_is_another_share_that_meets_the_difficulty() {
    let works = [work(1, "1e-8"), work(2, "1e-8"), work(3, "1e-8")];
    let all = grind(&works, "user \\ 1", 20, 3).unwrap();
    for (mut shares, work) in all.into_iter().zip(works) {
        let (mut ids, mut headers) = (BTreeSet::new(), BTreeSet::new());
        let mut extranonces = BTreeSet::new();
        for line in lines_of(&mut shares) {
            let value: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["method"], "mining.submit");
            let params: Vec<&str> =
                value["params"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            assert_eq!((params[0], params[1], params[3]), ("user \\ 1", "job \"1\"", "65000000"));
            let extranonce2 = simminer::hex::decode(params[2]).unwrap();
            assert_eq!(extranonce2.len(), 10);
            let nonce = u32::from_str_radix(params[4], 16).unwrap();
            let own = Work { extranonce2, ..work.clone() };
            assert!(own.share_target().is_met_by(&own.hash(nonce).0), "{line}");
            ids.insert(value["id"].as_u64());
            headers.insert(own.header(nonce));
            extranonces.insert(own.extranonce2);
        }
        assert_eq!((ids.len(), headers.len(), extranonces.len()), (20, 20, 7));
    }
}

#[test]
fn the_same_lines_are_taken_again_after_a_rewind() {
    let mut shares = grind(&[work(1, "1e-20")], "u", 20, 3).unwrap().remove(0);
    let lines = lines_of(&mut shares);
    assert_eq!((lines.len(), lines_of(&mut shares).len()), (20, 0));
    shares.rewind();
    assert_eq!(lines_of(&mut shares), lines);
}

#[test]
fn no_more_is_taken_than_there_is() {
    let mut shares = grind(&[work(1, "1e-20")], "u", 3, 1).unwrap().remove(0);
    let mut lines = Vec::new();
    assert_eq!(shares.take(2, &mut lines), 2);
    assert_eq!(shares.take(2, &mut lines), 1);
    assert_eq!(shares.take(2, &mut lines), 0);
    assert_eq!(String::from_utf8(lines).unwrap().lines().count(), 3);
}

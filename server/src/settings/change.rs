//! Two readings of the settings compared: what a running server can take over, and what it cannot.

use super::{Listen, Settings};

impl Settings {
    /// The settings that differ in `newer` and take effect while the server runs.
    pub fn changed_terms(&self, newer: &Self) -> Vec<&'static str> {
        let differs = differs(self, newer);
        differs.into_iter().filter(|(_, fixed)| !fixed).map(|(name, _)| name).collect()
    }

    /// The settings that differ in `newer` and take effect with another start.
    pub fn changed_otherwise(&self, newer: &Self) -> Vec<&'static str> {
        let differs = differs(self, newer);
        differs.into_iter().filter(|(_, fixed)| *fixed).map(|(name, _)| name).collect()
    }
}

/// What differs, and whether it is fixed while the server runs.
fn differs(older: &Settings, newer: &Settings) -> Vec<(&'static str, bool)> {
    // Every field by name, so that a new one finds its place here.
    let Settings {
        network,
        node,
        node_zmq,
        other_nodes,
        sidechains,
        wishes,
        bmm_blind,
        payout,
        stratum_host,
        stratum_port,
        max_connections,
        pool_difficulty,
        vardiff,
        solo,
        listen,
        job_refresh_interval,
        empty_first,
        max_tip_age,
        data_dir,
        engines,
        log_format,
        log_level,
    } = older;
    let (doors, rules) = (doors(listen), rules(listen));
    let (newer_doors, newer_rules) = (self::doors(&newer.listen), self::rules(&newer.listen));
    let all = [
        ("NETWORK", true, *network != newer.network),
        ("RPC_*", true, *node != newer.node),
        ("NODE_ZMQ", true, *node_zmq != newer.node_zmq),
        ("[[node]]", true, *other_nodes != newer.other_nodes),
        ("the sidechains", true, *sidechains != newer.sidechains),
        ("STRATUM_HOST", true, *stratum_host != newer.stratum_host),
        ("STRATUM_PORT", true, *stratum_port != newer.stratum_port),
        ("MAX_CONNECTIONS", true, *max_connections != newer.max_connections),
        ("the ports in [[listen]]", true, doors != newer_doors),
        ("solo mining", true, *solo != newer.solo),
        ("DATA_DIR", true, *data_dir != newer.data_dir),
        ("ENGINES", true, *engines != newer.engines),
        ("LOG_FORMAT", true, *log_format != newer.log_format),
        ("the payout", false, *payout != newer.payout),
        ("[[propose]], [[acknowledge]], [votes]", false, *wishes != newer.wishes),
        ("BMM_BLIND", false, *bmm_blind != newer.bmm_blind),
        ("POOL_DIFFICULTY", false, *pool_difficulty != newer.pool_difficulty),
        ("VARDIFF", false, *vardiff != newer.vardiff),
        ("the difficulties in [[listen]]", false, doors == newer_doors && rules != newer_rules),
        ("JOB_REFRESH_INTERVAL", false, *job_refresh_interval != newer.job_refresh_interval),
        ("EMPTY_FIRST", false, *empty_first != newer.empty_first),
        ("MAX_TIP_AGE", false, *max_tip_age != newer.max_tip_age),
        ("LOG_LEVEL", false, *log_level != newer.log_level),
    ];
    all.into_iter().filter(|(.., differ)| *differ).map(|(name, fixed, _)| (name, fixed)).collect()
}

/// What of a port stays while the server runs.
fn doors(listen: &[Listen]) -> Vec<impl PartialEq> {
    let door = |one: &Listen| {
        let Listen { host, port, rules: _, tls, proxies } = one.clone();
        (host, port, tls, proxies)
    };
    listen.iter().map(door).collect()
}

/// What of a port may change.
fn rules(listen: &[Listen]) -> Vec<impl PartialEq> {
    listen.iter().map(|one| one.rules).collect()
}

//! Bitcoin Core's own consensus code (libbitcoinkernel) as a second judge of regtest blocks.
//!
//! The simulated node judges by rules that were written anew here, and runs no scripts; what both
//! of them accept is a block. The judge tells the time by the machine's clock, so simulated time
//! has to stay behind it. Behind feature `kernel`: it is built from C++, in about six CPU minutes.
//!
//! Not in here: a mempool, templates, and bitcoind's words; the library tells kinds of faults only.

use std::sync::{Arc, Mutex, Once, PoisonError};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use bitcoinkernel::prelude::{BlockHashExt as _, BlockValidationStateExt as _};
use bitcoinkernel::{
    Block, BlockValidationResult, BlockValidationStateRef, ChainType, ChainstateManager,
    ContextBuilder, KernelError, ProcessBlockResult, ValidationMode,
};
use tempfile::TempDir;

/// Why there is no judge.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// There is no place for its block files.
    #[error("no folder for the kernel's blocks: {0}; is the temporary folder writable?")]
    Folder(std::io::Error),
    /// The library would not start.
    #[error("libbitcoinkernel does not start: {0}; is another of its kind in the same folder?")]
    Kernel(KernelError),
}

/// The kind of fault a block has, in the library's terms.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Reason {
    /// Its bytes are no block.
    #[error("not a block")]
    Undecodable,
    /// The header by itself or in its chain: work, difficulty, version, a time too early.
    #[error("invalid header")]
    Header,
    /// The body is not the one that the header stands for, so another one may still be.
    #[error("the body does not belong to the header")]
    Mutated,
    /// Any other rule.
    #[error("breaks consensus")]
    Consensus,
    /// It was refused before.
    #[error("known to be invalid")]
    KnownInvalid,
    /// Its parent is not known.
    #[error("unknown parent")]
    UnknownParent,
    /// Its parent is invalid.
    #[error("invalid parent")]
    InvalidParent,
    /// Its time is more than two hours ahead of the machine's clock.
    #[error("from the future")]
    FromTheFuture,
    /// Refused without a kind.
    #[error("refused, the kernel does not say why")]
    Unsaid,
}

/// What the library said of one block: nothing against it, or a reason.
type Verdict = (BlockHash, Result<(), Reason>);

/// A regtest chain of its own, from genesis on, kept in memory and a temporary folder.
pub struct Judge {
    manager: ChainstateManager,
    /// Filled by the library while it processes a block.
    verdicts: Arc<Mutex<Vec<Verdict>>>,
    _folder: TempDir,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Judge").field("tip", &self.tip()).finish_non_exhaustive()
    }
}

impl Judge {
    /// A judge that knows regtest's genesis and nothing else.
    pub fn new() -> Result<Self, JudgeError> {
        // It keeps its log in memory until somebody takes it.
        static QUIET: Once = Once::new();
        QUIET.call_once(bitcoinkernel::disable_logging);
        let folder = TempDir::new().map_err(JudgeError::Folder)?;
        let verdicts = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&verdicts);
        let checked = move |block: Block, state: BlockValidationStateRef<'_>| {
            let verdict = match state.mode() {
                ValidationMode::Valid => Ok(()),
                ValidationMode::Invalid | ValidationMode::InternalError => {
                    Err(reason(state.result()))
                }
            };
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push((hash_of(&block), verdict));
        };
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let manager = ContextBuilder::new()
            .chain_type(ChainType::Regtest)
            .with_block_checked_validation(checked)
            .build()
            .and_then(|context| {
                ChainstateManager::builder(&context, &path("chain"), &path("blocks"))?
                    .block_tree_db_in_memory(true)
                    .chainstate_db_in_memory(true)
                    .build()
            })
            .map_err(JudgeError::Kernel)?;
        manager.import_blocks().map_err(JudgeError::Kernel)?;
        Ok(Self { manager, verdicts, _folder: folder })
    }

    /// Takes a block in consensus encoding, or says what is wrong with it.
    ///
    /// A block whose chain is not the best is taken with its inputs not looked at, and so is one
    /// that was taken before. A block that makes its chain the best is judged with all before it.
    pub fn submit(&self, block: &[u8]) -> Result<(), Reason> {
        let block = Block::new(block).map_err(|_| Reason::Undecodable)?;
        self.heard();
        let result = self.manager.process_block(&block);
        let hash = hash_of(&block);
        let said = self.heard().into_iter().rfind(|(of, _)| *of == hash);
        match (said, result) {
            (Some((_, verdict)), _) => verdict,
            (None, ProcessBlockResult::Rejected) => Err(Reason::Unsaid),
            (None, ProcessBlockResult::NewBlock | ProcessBlockResult::Duplicate) => Ok(()),
        }
    }

    /// The end of the chain that it holds to be the best.
    pub fn tip(&self) -> BlockHash {
        BlockHash::from_byte_array(self.manager.active_chain().tip().block_hash().to_bytes())
    }

    /// Takes what was said since the last call.
    fn heard(&self) -> Vec<Verdict> {
        std::mem::take(&mut self.verdicts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn hash_of(block: &Block) -> BlockHash {
    BlockHash::from_byte_array(block.hash().to_bytes())
}

const fn reason(result: BlockValidationResult) -> Reason {
    match result {
        BlockValidationResult::Unset | BlockValidationResult::HeaderLowWork => Reason::Unsaid,
        BlockValidationResult::Consensus => Reason::Consensus,
        BlockValidationResult::CachedInvalid => Reason::KnownInvalid,
        BlockValidationResult::InvalidHeader => Reason::Header,
        BlockValidationResult::Mutated => Reason::Mutated,
        BlockValidationResult::MissingPrev => Reason::UnknownParent,
        BlockValidationResult::InvalidPrev => Reason::InvalidParent,
        BlockValidationResult::TimeFuture => Reason::FromTheFuture,
    }
}

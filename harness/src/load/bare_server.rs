//! A server that does for shares what every server must, and nothing else: it reads them, hashes as
//! often as it takes to judge them, and says yes to each.
//!
//! What it costs is the machine's part of what any server costs there: sockets, the scheduler and
//! SHA-256. It has what our server has beneath: one thread, tokio's tasks, a read for as much as
//! there is and a write for all of its answers. Not in here: a look at what a line says.

use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use sha2::block_api::compress256;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::hashing::Hashing;
use crate::cli::EXIT_FAILED;
use crate::console::{complain, say};

/// Bytes taken by one read.
const READ_BYTES: usize = 16 * 1024;

/// What every line is answered with, and each connection greeted with: as many bytes as a real
/// answer to a line of the generator.
const ANSWER: &[u8] = b"{\"id\":100000000,\"result\":true,\"error\":null}\n";

/// What all connections share.
#[derive(Debug)]
struct Stock {
    hashing: Hashing,
    /// As many blocks as the longest share has: which bytes are in them makes no difference.
    blocks: Vec<[u8; 64]>,
    /// As many answers as one read can bring lines.
    answers: Vec<u8>,
}

/// Says its port on standard output and serves until standard input ends, which it does with the
/// process that started this one; the exit code.
pub(crate) fn run(hashing: Hashing) -> u8 {
    let runtime = Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve_until_input_ends(hashing))) {
        Ok(()) => 0,
        Err(error) => {
            complain(&format!("cannot serve: {error}; look at the limit of open files"));
            EXIT_FAILED
        }
    }
}

async fn serve_until_input_ends(hashing: Hashing) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    say(&listener.local_addr()?.port().to_string());
    tokio::spawn(async move {
        if let Err(error) = serve(listener, hashing).await {
            complain(&format!("cannot take a connection: {error}; raise the limit of open files"));
        }
    });
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    ended.await.map_err(io::Error::other)?.map(drop)
}

/// Takes every connection there is. Their tasks end with the runtime.
async fn serve(listener: TcpListener, hashing: Hashing) -> io::Result<()> {
    let blocks = usize::try_from(hashing.compressions_max()).unwrap_or(usize::MAX);
    let blocks = vec![[0x5a; 64]; blocks];
    let stock = Arc::new(Stock { hashing, blocks, answers: ANSWER.repeat(READ_BYTES) });
    loop {
        let (miner, _) = listener.accept().await?;
        miner.set_nodelay(true)?;
        let stock = Arc::clone(&stock);
        // A connection that breaks is one that ends.
        tokio::spawn(async move { answer(miner, &stock).await.unwrap_or_default() });
    }
}

/// Greets one miner, which then knows that it is let in, and answers each of its lines.
async fn answer(mut miner: TcpStream, stock: &Stock) -> io::Result<()> {
    miner.write_all(ANSWER).await?;
    let (mut number, mut state) = (0, [0; 8]);
    while let Some(lines) = lines(&mut miner).await? {
        for _ in 0..lines {
            let count = usize::try_from(stock.hashing.of_share(number)).unwrap_or(usize::MAX);
            // Each needs the one before, as those of a share do.
            compress256(&mut state, &stock.blocks[..count]);
            number += 1;
        }
        black_box(state);
        miner.write_all(&stock.answers[..lines * ANSWER.len()]).await?;
    }
    Ok(())
}

/// Waits for bytes; how many lines end in them, none at the end of all. The buffer is on the stack,
/// and there is no need to keep what began.
async fn lines(miner: &mut TcpStream) -> io::Result<Option<usize>> {
    poll_fn(|context| {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *miner).poll_read(context, &mut buffer))?;
        let bytes = buffer.filled();
        #[expect(clippy::naive_bytecount, reason = "the compiler does it 16 bytes at a time")]
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        Poll::Ready(Ok((!bytes.is_empty()).then_some(lines)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::io::AsyncReadExt as _;

    use super::super::grind::ID_FIRST;
    use super::super::wire::{Line, classify};
    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        hashing: Hashing,
    }

    async fn connect() -> TcpStream {
        let line = ["alone", "--compressions", "9", "--nonces", "2"];
        let hashing = Alone::try_parse_from(line).unwrap().hashing;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, hashing));
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut stream, b"").await, ANSWER, "the greeting");
        stream
    }

    /// What one read brings after these bytes were sent.
    async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
        stream.write_all(bytes).await.unwrap();
        let mut answers = vec![0; READ_BYTES];
        let length = stream.read(&mut answers).await.unwrap();
        answers.truncate(length);
        answers
    }

    #[tokio::test]
    async fn each_line_is_answered_once_and_those_of_one_read_in_one_piece() {
        let mut stream = connect().await;
        assert_eq!(ask(&mut stream, b"one\n").await, ANSWER);
        assert_eq!(ask(&mut stream, b"two\nthree\nfour\nfi").await, ANSWER.repeat(3));
        assert_eq!(ask(&mut stream, b"ve\n").await, ANSWER);
        let mut rest = Vec::new();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0, "{rest:?}");
    }

    #[tokio::test]
    async fn more_lines_than_one_read_takes_are_all_answered() {
        let mut stream = connect().await;
        let lines = READ_BYTES + 7;
        stream.write_all(&vec![b'\n'; lines]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await.unwrap();
        assert_eq!(answers.len(), lines * ANSWER.len());
    }

    #[test]
    fn an_answer_is_a_yes_as_long_as_a_real_one() {
        assert_eq!(classify(ANSWER), Line::Yes);
        let real = format!("{{\"id\":{ID_FIRST},\"result\":true,\"error\":null}}\n");
        assert_eq!(ANSWER, real.as_bytes());
    }
}

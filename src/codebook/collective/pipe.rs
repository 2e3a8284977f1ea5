//! A star of threads within one process.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{Alone, Collective, Hub, Spoke};

/// One worker for each of `count` threads, in the order of their ranks.
///
/// A worker that is dropped, be it by a panic, is an error that names it for all others, as soon as they would wait for
/// it.
///
/// # Examples
/// ```
/// use roundelay::codebook::{Collective, threads};
///
/// let workers = threads(3);
/// let sums: Vec<i64> = std::thread::scope(|scope| {
///     let handles: Vec<_> = workers.into_iter().map(|mut worker| scope.spawn(move || {
///         let mut sums = [worker.rank() as i64];
///         worker.all_reduce(&mut sums).unwrap();
///         sums[0]
///     })).collect();
///     handles.into_iter().map(|handle| handle.join().unwrap()).collect()
/// });
/// assert_eq!(sums, [3, 3, 3]); // 0 + 1 + 2, for everybody
/// ```
pub fn threads(count: usize) -> Vec<Box<dyn Collective + Send>> {
    if count <= 1 {
        return (0..count).map(|_| Box::new(Alone) as _).collect();
    }
    let (near, far): (Vec<_>, Vec<_>) = (1..count).map(|_| pair()).unzip();
    let greet = |(far, rank)| Spoke::new(far, rank, count).expect("a pipe takes a greeting");
    let spokes: Vec<_> = far.into_iter().zip(1..).map(greet).collect();
    let hub = Hub::new(near).expect("the spokes have greeted");
    let mut workers: Vec<Box<dyn Collective + Send>> = vec![Box::new(hub)];
    workers.extend(spokes.into_iter().map(|spoke| Box::new(spoke) as _));
    workers
}

/// One end of a connection in memory. Writing never waits.
struct Pipe {
    to: Sender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
    /// What has arrived and was not read yet.
    rest: VecDeque<u8>,
}

fn pair() -> (Pipe, Pipe) {
    let (there, here) = (channel(), channel());
    let end = |to, from| Pipe { to, from, rest: VecDeque::new() };
    (end(there.0, here.1), end(here.0, there.1))
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            // An error means that the other end is gone, which is the end of the stream.
            self.rest = self.from.recv().unwrap_or_default().into();
        }
        self.rest.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

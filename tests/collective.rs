//! Workers that train one codebook together: in processes over loopback sockets, and in threads.
//!
//! ```text
//! this test (worker 0) --- TCP --- this executable again, told by its environment to be worker 1
//!                      \-- TCP --- .. worker 2
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use ndarray::{Array2, ArrayView2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundelay::codebook::{
    Alone, Collective, Dropout, EmaCodebook, EmaRule, Hub, KMeans, ResidualTrainer, ResidualTraining, Revival,
    SeededDraws, Spoke, Start, Threshold, threads,
};
use roundelay::{Error, Result};

/// How a worker process is told what it is: port, rank, how many workers there are, and what it does.
const ROLE: &str = "ROUNDELAY_TEST_WORKER";
/// Longer than anything here takes, and than the spokes' patience.
const HANG: Duration = Duration::from_secs(60);
/// What a survivor may take to learn of a death.
const PROMPT: Duration = Duration::from_secs(5);

/// Runs `work` and fails if it does not come back.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    let worker = thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(HANG) {
        Ok(value) => value,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(_) => std::panic::resume_unwind(worker.join().unwrap_err()),
    }
}

// ---- what all workers do

fn batch(step: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(100 + step);
    let rows = 120 + 30 * step as usize;
    // A few places with much and many with little, so that codes die.
    let mut skewed = || (rng.random_range(0.0..1.0f32).powi(6) * 20.0).floor() + rng.random_range(0.0..0.3);
    Array2::from_shape_simple_fn((rows, 5), &mut skewed)
}

/// A worker's part of a batch: uneven, and empty for the last of four at every third step.
fn part<'a>(whole: &'a Array2<f32>, step: u64, rank: usize, size: usize) -> ArrayView2<'a, f32> {
    let end = |rank: usize| {
        let even = whole.nrows() * rank / size;
        let last_is_empty = size == 4 && step.is_multiple_of(3) && rank == 3;
        if last_is_empty { whole.nrows() } else { (even + 7 * (rank % 2)).min(whole.nrows()) }
    };
    let range = if rank + 1 == size { end(rank)..whole.nrows() } else { end(rank)..end(rank + 1) };
    whole.slice(s![range, ..])
}

fn training() -> ResidualTraining {
    let revival = Revival { threshold: Threshold::Ratio(0.3), ..Revival::default() };
    ResidualTraining {
        levels: 3,
        codes: 16,
        rule: EmaRule { decay: 0.8, revival: Some(revival), ..EmaRule::default() },
        start: Start::PlusPlus,
        rounds: 4,
        dropout: Some(Dropout { share: 0.5, least: 1 }),
        seed: 11,
    }
}

/// What a worker ends with: every bit of the codebooks, and of what it was told on the way.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    bits: Vec<u64>,
    revived: usize,
}

impl Outcome {
    fn floats<'a>(&mut self, values: impl IntoIterator<Item = &'a f32>) {
        self.bits.extend(values.into_iter().map(|value| u64::from(value.to_bits())));
    }

    /// In one line, for standard output.
    fn line(&self) -> String {
        let words: Vec<String> = self.bits.iter().map(|word| format!("{word:x}")).collect();
        format!("DONE {} {}", self.revived, words.join(" "))
    }
}

const STEPS: u64 = 6;

fn work(workers: &mut dyn Collective, training: &ResidualTraining, mut each: impl FnMut(u64)) -> Result<Outcome> {
    let (rank, size) = (workers.rank(), workers.size());
    let mut outcome = Outcome { bits: Vec::new(), revived: 0 };
    let first = batch(0);
    let mut trainer = ResidualTrainer::new(training, part(&first, 0, rank, size), workers)?;
    for step in 1..=STEPS {
        each(step);
        let whole = batch(step);
        for step in trainer.step(part(&whole, step, rank, size), workers)? {
            outcome.bits.push(step.error.to_bits());
            outcome.bits.extend(step.counts.counts());
            outcome.bits.extend(step.revived.iter().flat_map(|revived| [revived.code as u64, revived.row as u64]));
            outcome.revived += step.revived.len();
        }
    }
    for level in trainer.levels() {
        let parts = level.parts();
        outcome.floats(&parts.table);
        outcome.floats(&parts.sizes);
        outcome.floats(&parts.sums);
    }
    Ok(outcome)
}

// ---- processes

#[test]
#[ignore = "one of the workers that the other tests start"]
fn worker() {
    let role = std::env::var(ROLE).expect("a role");
    let mut words = role.split(' ');
    let mut number = || words.next().unwrap().parse::<u16>().unwrap();
    let (port, rank, size) = (number(), number() as usize, number() as usize);
    let stuck_at = words.next().unwrap().parse::<u64>().unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    // Longer than the hub waits for all of them.
    stream.set_read_timeout(Some(HANG / 2)).unwrap();
    let mut spoke = Spoke::new(stream, rank, size).unwrap();
    let outcome = work(&mut spoke, &training(), |step| {
        if step == stuck_at {
            println!("STUCK");
            thread::sleep(4 * HANG);
        }
    });
    match outcome {
        Ok(outcome) => println!("{}", outcome.line()),
        Err(error) => println!("ERROR {error}"),
    }
}

/// A worker process, which does not outlive the test.
struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(port: u16, rank: usize, size: usize, stuck_at: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "worker", "--nocapture"])
            .env(ROLE, format!("{port} {rank} {size} {stuck_at}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines }
    }

    /// The next line that begins with this.
    fn line(&mut self, start: &str) -> String {
        // The harness writes its own words before the worker's, on the same line.
        let found =
            self.lines.by_ref().map(|line| line.unwrap()).find_map(|line| Some(line[line.find(start)?..].to_owned()));
        found.unwrap_or_else(|| panic!("no line with {start}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already if all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A star of processes: worker 0 here, of which every stream waits so long, and the others.
fn star(size: usize, stuck: Option<usize>, patience: Duration) -> (Hub<TcpStream>, Vec<Process>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Started last to first: the hub sorts them.
    let mut processes: Vec<Process> =
        (1..size).rev().map(|rank| Process::start(port, rank, size, if stuck == Some(rank) { 3 } else { 0 })).collect();
    processes.reverse();
    let streams = (1..size).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>();
    for stream in &streams {
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_write_timeout(Some(patience)).unwrap();
    }
    (Hub::new(streams).unwrap(), processes)
}

#[test]
fn two_three_and_four_processes_end_with_the_same_bits_as_one() {
    let alone = work(&mut Alone, &training(), |_| ()).unwrap();
    assert!(alone.revived > 10, "only {} codes were revived", alone.revived);
    let mut run = 0;
    for size in 2..=4 {
        let expected = alone.line();
        run += in_time(move || {
            let (mut hub, mut processes) = star(size, None, HANG);
            assert_eq!(work(&mut hub, &training(), |_| ()).unwrap().line(), expected, "worker 0 of {size}");
            for (process, rank) in processes.iter_mut().zip(1..) {
                assert_eq!(process.line("DONE"), expected, "worker {rank} of {size}");
            }
            size
        });
    }
    assert_eq!(run, 9, "workers");
}

#[test]
fn killed_process_is_an_error_that_names_it_for_all_others() {
    for killed in [1, 2, 3] {
        in_time(move || {
            let (mut hub, mut processes) = star(4, Some(killed), HANG);
            let here = thread::spawn(move || work(&mut hub, &training(), |_| ()).unwrap_err().to_string());
            processes[killed - 1].line("STUCK");
            assert!(!here.is_finished());
            let moment = Instant::now();
            processes[killed - 1].child.kill().unwrap();
            let expected = format!("cannot go on with worker {killed}: it is gone");
            assert_eq!(here.join().unwrap(), expected);
            for rank in (1..4).filter(|&rank| rank != killed) {
                assert_eq!(processes[rank - 1].line("ERROR"), format!("ERROR {expected}"), "worker {rank}");
            }
            assert!(moment.elapsed() < PROMPT, "{:?}", moment.elapsed());
        });
    }
}

#[test]
fn stuck_process_is_an_error_that_names_it_when_the_sockets_time_out() {
    in_time(|| {
        let (mut hub, mut processes) = star(3, Some(2), Duration::from_secs(5));
        let expected = "cannot go on with worker 2: it did not answer in time";
        assert_eq!(work(&mut hub, &training(), |_| ()).unwrap_err().to_string(), expected);
        assert_eq!(processes[0].line("ERROR"), format!("ERROR {expected}"));
    });
}

/// A stream from which nothing is read any more.
struct Deaf(TcpStream);

impl Read for Deaf {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        thread::sleep(HANG);
        Ok(0)
    }
}

impl Write for Deaf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn worker_that_stops_reading_is_an_error_that_names_it_when_the_sockets_time_out() {
    // More than the buffers of two sockets hold: 32 MB.
    const SUMS: usize = 1 << 22;
    in_time(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let stream = Deaf(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
            Spoke::new(stream, 1, 2).unwrap().all_reduce(&mut vec![1; SUMS])
        });
        let stream = listener.accept().unwrap().0;
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let error = Hub::new(vec![stream]).unwrap().all_reduce(&mut vec![1; SUMS]).unwrap_err();
        assert_eq!(error.to_string(), "cannot go on with worker 1: it did not answer in time");
    });
}

#[test]
fn lost_worker_0_is_an_error_for_the_others() {
    in_time(|| {
        let (mut hub, mut processes) = star(3, None, HANG);
        let gone = work(&mut hub, &ResidualTraining { rounds: 0, ..training() }, |_| ());
        // It was refused for its other training; then it goes.
        assert!(gone.is_err());
        drop(hub);
        for process in &mut processes {
            assert_eq!(process.line("ERROR"), "ERROR training of worker 1 is another, expected that of worker 0");
        }
        let (hub, mut processes) = star(3, None, HANG);
        drop(hub);
        for process in &mut processes {
            assert_eq!(process.line("ERROR"), "ERROR cannot go on with worker 0: it is gone");
        }
    });
}

// ---- threads

/// Lets every worker do something in a thread of its own.
fn each<T: Send + 'static>(
    size: usize,
    work: impl Fn(Box<dyn Collective + Send>) -> T + Send + Sync + 'static,
) -> Vec<thread::Result<T>> {
    in_time(move || {
        thread::scope(|scope| {
            let work = &work;
            let handles: Vec<_> = threads(size).into_iter().map(|worker| scope.spawn(move || work(worker))).collect();
            handles.into_iter().map(|handle| handle.join()).collect()
        })
    })
}

#[test]
fn threads_end_with_the_same_bits_as_one_by_every_rule() {
    let rules = [EmaRule::default(), EmaRule::audiocraft(), EmaRule::lucidrains(), EmaRule::moshi(), EmaRule::tats()];
    let mut run = 0;
    for rule in rules {
        for start in [Start::Random, Start::PlusPlus] {
            let training = ResidualTraining { rule, start, ..training() };
            let alone = work(&mut Alone, &training, |_| ()).unwrap();
            for size in 1..=4 {
                for outcome in each(size, move |mut worker| work(&mut worker, &training, |_| ()).unwrap()) {
                    assert_eq!(outcome.unwrap(), alone, "{size} workers, {rule:?}");
                    run += 1;
                }
            }
        }
    }
    assert_eq!(run, 5 * 2 * (1 + 2 + 3 + 4));
}

#[test]
fn dropped_or_panicking_thread_is_an_error_that_names_it_for_all_others() {
    for (lost, panics) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        let outcomes = each(3, move |mut worker| {
            if worker.rank() == lost {
                assert!(!panics, "on purpose");
                return String::new();
            }
            let error = work(&mut worker, &training(), |_| ()).unwrap_err().to_string();
            // An error is final.
            assert_eq!(worker.all_reduce(&mut [1]).unwrap_err().to_string(), error);
            error
        });
        for (rank, outcome) in outcomes.into_iter().enumerate().filter(|(rank, _)| *rank != lost) {
            assert_eq!(outcome.unwrap(), format!("cannot go on with worker {lost}: it is gone"), "worker {rank}");
        }
    }
}

type Operation = fn(&mut dyn Collective) -> Result<()>;

/// What all three workers say when worker 1 does something else.
fn out_of_step(others: Operation, one: Operation) -> [String; 3] {
    let outcomes = each(3, move |mut worker| {
        let result = if worker.rank() == 1 { one(&mut worker) } else { others(&mut worker) };
        result.unwrap_err().to_string()
    });
    let words: Vec<String> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
    words.try_into().unwrap()
}

#[test]
fn other_operation_or_length_is_an_error_for_all() {
    let cases: [(Operation, &str); 4] = [
        (|worker| worker.all_reduce(&mut [0; 4]), "sum of 4 numbers, operation 0"),
        (|worker| worker.broadcast(0, &mut [0.0; 3]), "broadcast from worker 0 of 0 floats, operation 0"),
        (|worker| worker.broadcast(1, &mut [0.0; 3]), "broadcast from worker 1 of 3 floats, operation 0"),
        (|worker| Err(Error::invalid("worker", worker.rank(), "another")), ""),
    ];
    for (one, found) in &cases[..3] {
        let words = out_of_step(|worker| worker.all_reduce(&mut [0; 3]), *one);
        let expected = format!("operation of worker 1 is {found}, expected sum of 3 numbers, operation 0");
        assert_eq!(words[0], expected);
        assert_eq!(words[1], format!("cannot go on with worker 1: {expected}"));
        assert_eq!(words[2], format!("cannot go on with worker 1: {expected}"));
    }
    // A worker that has an error of its own goes, and the others learn that.
    let words = out_of_step(|worker| worker.all_reduce(&mut [0; 3]), cases[3].0);
    assert_eq!(words[1], "worker is 1, expected another");
    assert_eq!(words[2], "cannot go on with worker 1: it is gone");
}

fn codebook(worker: &mut dyn Collective, rule: EmaRule, seed: u64) -> Result<()> {
    let table = Array2::from_shape_fn((8, 3), |(i, j)| (i * 10 + j) as f32);
    let x = batch(worker.rank() as u64);
    EmaCodebook::new(table, rule)?.step(x.slice(s![.., ..3]), &mut SeededDraws::new(seed), worker).map(|_| ())
}

fn replica(worker: &mut dyn Collective, sum: f32) -> Result<()> {
    let mut parts = EmaCodebook::new(Array2::ones((2, 1)), EmaRule::default())?.parts();
    parts.sums[[1, 0]] = sum;
    let mut codebook = EmaCodebook::from_parts(parts, EmaRule::default())?;
    codebook.step(Array2::ones((3, 1)).view(), &mut SeededDraws::new(0), worker).map(|_| ())
}

#[test]
fn other_rule_seed_or_codebook_is_an_error_for_all() {
    let words = out_of_step(
        |worker| codebook(worker, EmaRule::default(), 1),
        |worker| codebook(worker, EmaRule { decay: 0.98, ..EmaRule::default() }, 1),
    );
    assert_eq!(words, ["codebook, rule or seed of worker 1 is another, expected that of worker 0"; 3]);

    // A replica that is not one: a single bit of one sum.
    let words = out_of_step(|worker| replica(worker, 1.0), |worker| replica(worker, 1.0f32.next_up()));
    assert_eq!(words, ["codebook, rule or seed of worker 1 is another, expected that of worker 0"; 3]);

    let words = out_of_step(
        |worker| codebook(worker, EmaRule::lucidrains(), 1),
        |worker| codebook(worker, EmaRule::lucidrains(), 2),
    );
    assert_eq!(words, ["draw of rows of worker 1 is another, expected that of worker 0"; 3]);

    let words = out_of_step(
        |worker| KMeans { clusters: 4, ..KMeans::default() }.fit_with(batch(1).view(), worker).map(|_| ()),
        |worker| KMeans { clusters: 5, ..KMeans::default() }.fit_with(batch(1).view(), worker).map(|_| ()),
    );
    assert_eq!(words, ["codebook, rule or seed of worker 1 is another, expected that of worker 0"; 3]);
}

#[test]
fn value_that_is_no_number_is_an_error_for_all_and_changes_nothing() {
    let outcomes = each(3, |mut worker| {
        let table = Array2::from_shape_fn((8, 5), |(i, j)| (i * 10 + j) as f32);
        let mut codebook = EmaCodebook::new(table, EmaRule::default()).unwrap();
        let before = codebook.parts();
        let mut x = batch(worker.rank() as u64);
        if worker.rank() == 2 {
            x[[4, 3]] = f32::NAN;
        }
        let mut draws = SeededDraws::new(1);
        let error = codebook.step(x.view(), &mut draws, &mut worker).unwrap_err().to_string();
        assert_eq!(codebook.parts(), before);
        // The group is not broken: all can go on with the next batch.
        codebook.step(batch(9).view(), &mut draws, &mut worker).unwrap();
        (error, codebook.parts())
    });
    let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(
        outcomes[0].0,
        "vectors of worker 2 is something that it refused, expected 5 numbers up to 1e15 in each"
    );
    assert_eq!(outcomes[1], outcomes[0]);
    assert_eq!(outcomes[2].0, "value 3 of vector 4 is NaN, expected a number up to 1e15 in size");
    assert_eq!(outcomes[2].1, outcomes[0].1);
}

#[test]
fn sums_that_overflow_are_an_error_for_all() {
    let words = out_of_step(|worker| worker.all_reduce(&mut [i64::MAX]), |worker| worker.all_reduce(&mut [1]));
    assert!(words[0].starts_with("sum of the workers is too large at worker 1"), "{}", words[0]);
    assert!(words[2].ends_with(&words[0]), "{}", words[2]);
}

#[test]
fn greetings_that_make_no_group_are_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0);
    let ((far, near), (other_far, other_near)) = (connect(), connect());
    let _spokes = [Spoke::new(far, 2, 3).unwrap(), Spoke::new(other_far, 2, 3).unwrap()];
    let error = Hub::new(vec![near, other_near]).unwrap_err().to_string();
    let expected = "greetings of workers 1 to 2 of 3, each once";
    assert_eq!(error, format!("what a worker said first is greeting of worker 2 of 3, expected {expected}"));

    let (mut far, near) = connect();
    std::io::Write::write_all(&mut far, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let error = Hub::new(vec![near]).unwrap_err().to_string();
    assert_eq!(error, "what worker 1 sent is ill-formed: it is not a frame");
    assert!(Spoke::new(far, 0, 3).is_err());
}

#[test]
fn worker_that_says_too_much_learns_of_it() {
    let (hub, spoke) = in_time(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let spoke = thread::spawn(move || {
            let mut spoke = Spoke::new(far, 1, 2).unwrap();
            // More than sockets hold, so that it waits for the other side to read.
            spoke.all_reduce(&mut vec![0; 4 << 20]).unwrap_err().to_string()
        });
        let mut hub = Hub::new(vec![listener.accept().unwrap().0]).unwrap();
        let here = hub.all_reduce(&mut [0]).unwrap_err().to_string();
        // The hub stays open meanwhile.
        (here, spoke.join().unwrap())
    });
    let expected =
        "operation of worker 1 is sum of 4194304 numbers, operation 0, expected sum of 1 numbers, operation 0";
    assert_eq!((hub.as_str(), spoke), (expected, format!("cannot go on with worker 1: {expected}")));
}

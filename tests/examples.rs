//! The examples, and what they print.
#![allow(dead_code, reason = "`main` prints what is compared here")]

#[path = "../examples/dia.rs"]
mod dia;
#[path = "../examples/higgs.rs"]
mod higgs;
#[path = "../examples/musicgen_stereo.rs"]
mod musicgen_stereo;
#[path = "../examples/orpheus.rs"]
mod orpheus;

/// Checks that a drawing has these lines, whatever the space between cells.
#[track_caller]
fn has(drawn: roundelay::Result<String>, lines: &[&str]) {
    let drawn = drawn.unwrap();
    let found: Vec<_> = drawn.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in lines {
        assert!(found.iter().any(|found| found == line), "{line} is not in\n{drawn}");
    }
}

#[test]
fn musicgen_takes_turns_between_left_and_right() {
    let lines = [
        "8 streams, 10 steps",
        "left.0 i2048 a0 a1 a2 a3 a4 a5 p2048 p2048 p2048",
        "right.0 i2048 a1000 a1001 a1002 a1003 a1004 a1005 p2048 p2048 p2048",
        "right.3 i2048 i2048 i2048 i2048 a1300 a1301 a1302 a1303 a1304 a1305",
        "letter and id: a acoustic i head fill p tail fill",
    ];
    has(musicgen_stereo::drawn(), &lines);
}

#[test]
fn dia_has_begin_and_end_in_every_stream() {
    let lines = [
        "9 streams, 22 steps",
        "step 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14",
        "main.0 b1026 a0 a1 a2 a3 a4 e1024 p1025 p1025 p1025 p1025 p1025 p1025 p1025 p1025",
        "main.1 i1026 i1026 i1026 i1026 i1026 i1026 i1026 i1026 b1026 a100 a101 a102 a103 a104 e1024",
        "step 15 16 17 18 19 20 21",
        "main.8 b1026 a800 a801 a802 a803 a804 e1024",
        "letter and id: a acoustic b begin e end i head fill p tail fill",
    ];
    has(dia::drawn(), &lines);
}

#[test]
fn higgs_has_begin_and_end_in_every_stream() {
    let lines = [
        "8 streams, 13 steps",
        "main.0 b1024 a0 a1 a2 a3 e1025 p1025 p1025 p1025 p1025 p1025 p1025 p1025",
        "main.7 i1024 i1024 i1024 i1024 i1024 i1024 i1024 b1024 a700 a701 a702 a703 e1025",
    ];
    has(higgs::drawn(), &lines);
}

#[test]
fn orpheus_is_one_row_of_ids() {
    let lines = [
        "7 streams, 14 steps",
        "main.0 a1000 n4096 n4096 n4096 n4096 n4096 n4096 a1001 p4096 p4096 p4096 p4096 p4096 p4096",
        "main.1.1 i4096 i4096 i4096 i4096 a2001 n4096 n4096 n4096 n4096 n4096 n4096 a2003 p4096 p4096",
        // 1000 + 128266, then 2000 + 128266 + 4096, 4000 + 128266 + 2 x 4096, .. up to 4007 + 128266 + 6 x 4096
        "[128257, 129266, 134362, 140458, 144555, 146651, 152748, 156845, 129267, 134364, 140462, 144559, 146653, \
         152752, 156849, 128258]",
    ];
    has(orpheus::drawn(), &lines);
}

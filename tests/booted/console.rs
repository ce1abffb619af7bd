//! The console of a booted guest: its ports when their interrupts get lost, and its command numbers.

use galago::guest::Restarts;

use crate::bed::{Bed, LIMIT, or_explain, output, power_off, run};

#[test]
fn a_console_whose_interrupts_are_lost_still_answers() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    // Who asks for its own fault is answered first.
    run(&mut guest, "inject stuck-interrupt console");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let text = "typed byte by byte, longer than what a port holds";
    run(&mut guest, &format!("write /file '{text}'"));
    assert_eq!(output(&mut guest, "cat /file").trim_end(), text);
    let told = run(&mut guest, "restarts");
    assert_eq!(
        or_explain(Restarts::from_result(&told)).of("console"),
        0,
        "nobody else helped it"
    );
    power_off(guest);
}

#[test]
fn a_command_is_refused_while_another_of_its_number_is_at_work() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    let long = or_explain(guest.start("bench postmark files=50 transactions=200"));
    or_explain(guest.start_as(long, "uptime"));
    let told = or_explain(guest.finish(long, "uptime", LIMIT, |_| {}));
    assert!(told.is_refused(), "{told:?}");
    let told = or_explain(guest.finish(long, "bench", LIMIT, |_| {}));
    assert!(told.ok && !told.is_refused(), "{told:?}");
    or_explain(guest.start_as(long, "uptime"));
    let told = or_explain(guest.finish(long, "uptime", LIMIT, |_| {}));
    assert!(told.ok && told.result["uptime_ns"].is_u64(), "{told:?}");
    power_off(guest);
}

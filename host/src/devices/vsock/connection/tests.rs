use super::*;

fn packet(op: u16) -> Packet {
    Packet {
        op,
        room: 1000,
        ..Packet::default()
    }
}

fn data(len: u32) -> Packet {
    Packet { len, ..packet(RW) }
}

fn established() -> Connection {
    let mut connection = Connection::accepted(&packet(REQUEST));
    assert_eq!(connection.next(), Some((RESPONSE, 0)));
    assert_eq!(connection.next(), None);
    connection
}

#[test]
fn the_host_asks_and_the_guest_accepts() {
    let mut connection = Connection::requested();
    assert_eq!(connection.hear(&packet(RESPONSE)), Heard::Broken, "unasked");
    assert_eq!(connection.next(), Some((REQUEST, 0)));
    assert_eq!((connection.next(), connection.may_send()), (None, 0));
    assert_eq!(connection.hear(&packet(RESPONSE)), Heard::Accepted);
    assert_eq!(connection.may_send(), 1000);
    assert_eq!(connection.hear(&packet(RESPONSE)), Heard::Broken, "twice");
}

#[test]
fn the_guest_is_sent_no_more_than_it_has_room_for() {
    let mut connection = established();
    connection.send(900);
    assert_eq!(connection.may_send(), 100);
    connection.send(100);
    assert_eq!(connection.may_send(), 0);
    let update = |passed_on| Packet {
        passed_on,
        ..packet(CREDIT_UPDATE)
    };
    connection.hear(&update(400));
    assert_eq!(connection.may_send(), 400);
    connection.hear(&update(1001));
    assert_eq!(connection.may_send(), 0, "it read what it was not sent");
    (connection.sent, connection.guest_passed_on) = (5, u32::MAX - 4);
    assert_eq!(connection.may_send(), 990, "the counts go round");
}

#[test]
fn a_guest_that_sends_more_than_it_may_is_cut_off() {
    let mut connection = established();
    assert_eq!(connection.hear(&data(BUFFER - 1)), Heard::Data);
    assert_eq!(connection.hear(&data(2)), Heard::Broken);
    assert_eq!(connection.hear(&data(u32::MAX)), Heard::Broken);
    connection.pass_on(u32::MAX);
    assert_eq!(connection.unread(), 0);
    assert_eq!(connection.hear(&data(BUFFER)), Heard::Data);
}

#[test]
fn the_guest_hears_of_room_when_it_asks_or_when_it_is_worth_it() {
    let mut connection = established();
    connection.hear(&data(BUFFER));
    connection.pass_on(NEWS - 1);
    assert!(!connection.is_due());
    connection.hear(&packet(CREDIT_REQUEST));
    assert_eq!(connection.next(), Some((CREDIT_UPDATE, 0)));
    assert!(!connection.is_due());
    connection.pass_on(1);
    assert_eq!(connection.next(), Some((CREDIT_UPDATE, 0)));
    let mut told = Packet::default();
    connection.stamp(&mut told);
    assert_eq!((told.room, told.passed_on), (BUFFER, NEWS));
    assert!(!connection.is_due());
}

#[test]
fn each_side_is_done_by_itself() {
    let mut connection = established();
    connection.end_host(SENDS);
    assert_eq!(connection.next(), Some((SHUTDOWN, SENDS)));
    assert_eq!((connection.next(), connection.may_send()), (None, 0));
    assert_eq!(connection.hear(&data(10)), Heard::Data, "the other way");
    let done = |flags| Packet {
        flags,
        ..packet(SHUTDOWN)
    };
    assert_eq!(connection.hear(&done(SENDS)), Heard::Done);
    assert_eq!(connection.hear(&data(1)), Heard::Broken, "after its end");
    assert_eq!(connection.hear(&done(RECEIVES)), Heard::Done);
    assert!(!connection.is_over(), "ten bytes are left");
    assert_eq!(connection.hear(&packet(RST)), Heard::Nothing);
    connection.pass_on(10);
    assert!(connection.is_over());
}

#[test]
fn nothing_is_understood_before_it_is_established() {
    for op in [RW, SHUTDOWN, CREDIT_UPDATE, CREDIT_REQUEST, REQUEST, 0, 8] {
        let mut connection = Connection::requested();
        assert_eq!(connection.hear(&packet(op)), Heard::Broken, "{op}");
    }
    assert_eq!(established().hear(&packet(REQUEST)), Heard::Broken);
    assert_eq!(Connection::requested().hear(&packet(RST)), Heard::Reset);
}

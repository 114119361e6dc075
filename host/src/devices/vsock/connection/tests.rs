use super::*;

fn packet(op: u16) -> Packet {
    Packet {
        op,
        buf_alloc: 1000,
        ..Packet::default()
    }
}

fn data(len: u32) -> Packet {
    Packet { len, ..packet(RW) }
}

fn established() -> Connection {
    let mut connection = Connection::accepted(&packet(REQUEST));
    assert_eq!(connection.next_control(), Some((RESPONSE, 0)));
    assert_eq!(connection.next_control(), None);
    connection
}

#[test]
fn the_host_asks_and_the_guest_accepts() {
    let mut connection = Connection::requested();
    assert_eq!(
        connection.receive(&packet(RESPONSE)),
        Received::Invalid,
        "unasked"
    );
    assert_eq!(connection.next_control(), Some((REQUEST, 0)));
    assert_eq!((connection.next_control(), connection.credit()), (None, 0));
    assert_eq!(connection.receive(&packet(RESPONSE)), Received::Accepted);
    assert_eq!(connection.credit(), 1000);
    assert_eq!(
        connection.receive(&packet(RESPONSE)),
        Received::Invalid,
        "twice"
    );
}

#[test]
fn the_guest_is_sent_no_more_than_it_has_room_for() {
    let mut connection = established();
    connection.sent(900);
    assert_eq!(connection.credit(), 100);
    connection.sent(100);
    assert_eq!(connection.credit(), 0);
    let update = |fwd_cnt| Packet {
        fwd_cnt,
        ..packet(CREDIT_UPDATE)
    };
    connection.receive(&update(400));
    assert_eq!(connection.credit(), 400);
    connection.receive(&update(1001));
    assert_eq!(connection.credit(), 0, "it read what it was not sent");
    (connection.tx_cnt, connection.peer_fwd_cnt) = (5, u32::MAX - 4);
    assert_eq!(connection.credit(), 990, "the counts go round");
}

#[test]
fn a_guest_that_sends_more_than_it_may_is_cut_off() {
    let mut connection = established();
    assert_eq!(connection.receive(&data(BUF_ALLOC - 1)), Received::Data);
    assert_eq!(connection.receive(&data(2)), Received::Invalid);
    assert_eq!(connection.receive(&data(u32::MAX)), Received::Invalid);
    connection.forwarded(u32::MAX);
    assert_eq!(connection.unread(), 0);
    assert_eq!(connection.receive(&data(BUF_ALLOC)), Received::Data);
}

#[test]
fn the_guest_hears_of_room_when_it_asks_or_when_it_is_worth_it() {
    let mut connection = established();
    connection.receive(&data(BUF_ALLOC));
    connection.forwarded(UPDATE_STEP - 1);
    assert!(!connection.has_control());
    connection.receive(&packet(CREDIT_REQUEST));
    assert_eq!(connection.next_control(), Some((CREDIT_UPDATE, 0)));
    assert!(!connection.has_control());
    connection.forwarded(1);
    assert_eq!(connection.next_control(), Some((CREDIT_UPDATE, 0)));
    let mut told = Packet::default();
    connection.set_credit(&mut told);
    assert_eq!((told.buf_alloc, told.fwd_cnt), (BUF_ALLOC, UPDATE_STEP));
    assert!(!connection.has_control());
}

#[test]
fn each_side_is_done_by_itself() {
    let mut connection = established();
    connection.shut_down(SHUTDOWN_SEND);
    assert_eq!(connection.next_control(), Some((SHUTDOWN, SHUTDOWN_SEND)));
    assert_eq!((connection.next_control(), connection.credit()), (None, 0));
    assert_eq!(
        connection.receive(&data(10)),
        Received::Data,
        "the other way"
    );
    let done = |flags| Packet {
        flags,
        ..packet(SHUTDOWN)
    };
    assert_eq!(connection.receive(&done(SHUTDOWN_SEND)), Received::Shutdown);
    assert_eq!(
        connection.receive(&data(1)),
        Received::Invalid,
        "after its end"
    );
    assert_eq!(connection.receive(&done(SHUTDOWN_RCV)), Received::Shutdown);
    assert!(!connection.is_over(), "ten bytes are left");
    assert_eq!(connection.receive(&packet(RST)), Received::Nothing);
    connection.forwarded(10);
    assert!(connection.is_over());
}

#[test]
fn nothing_is_understood_before_it_is_established() {
    for op in [RW, SHUTDOWN, CREDIT_UPDATE, CREDIT_REQUEST, REQUEST, 0, 8] {
        let mut connection = Connection::requested();
        assert_eq!(connection.receive(&packet(op)), Received::Invalid, "{op}");
    }
    assert_eq!(established().receive(&packet(REQUEST)), Received::Invalid);
    assert_eq!(
        Connection::requested().receive(&packet(RST)),
        Received::Reset
    );
}

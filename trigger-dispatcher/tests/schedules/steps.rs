//! What happens in a schedule, step by step, as chance wants it.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_channel::{Change, Class, Lane, LaneState, ParkedQuery, Position, Stage, Work, WorkKey};
use millrace_event::{DataForm, Event, SpecVersion};

use crate::book::Sent;
use crate::documents::{TRIGGERS, Wants, name};
use crate::world::World;

fn event(id: &str, kind: &str) -> Event {
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", id)
        .attribute("source", "/s")
        .attribute("type", kind);
    event.data(DataForm::Bytes, b"1").build().expect("a valid event")
}

/// Whether nothing is left to do for this event of the lane but what its rows say.
fn is_settled(lane: &Lane, router: Position, at: Position) -> bool {
    let reads_on = lane.cursor.unwrap_or(router);
    let begins = lane.queued.map_or(reads_on, |queued| queued.min(reads_on));
    lane.start <= at && at < begins && !lane.unsettled.contains(&at) && !lane.covered.contains(&at)
}

impl World {
    /// One choice of what happens next.
    pub(crate) async fn step(&mut self) {
        match self.choose(100) {
            0..36 => self.append().await,
            36..56 => tokio::time::sleep(Duration::from_millis(u64::from(self.choose(700)))).await,
            56..64 => {
                let (chunks, is_stored) = (self.choose(5) as usize, self.choose(2) == 0);
                self.any().cut_once(chunks, is_stored);
            }
            64..68 => self.kill().await,
            68..72 => self.outlive(),
            72..75 => self.restart().await,
            75..79 => self.move_one(),
            79..86 => self.command().await,
            86..88 => self.pause().await,
            88..94 => self.edit().await,
            94..97 => self.reply().await,
            97..98 => self.hide(),
            _ => self.lose(),
        }
    }

    async fn append(&mut self) {
        let count = 1 + self.choose(4) as usize;
        let partition = self.any().partition();
        let from = self.in_effect(partition);
        let mut events = Vec::new();
        let lanes = self.servers_of(partition).triggers().into_values();
        let triggers: BTreeSet<_> = lanes.map(|trigger| trigger.name().to_owned()).collect();
        for _ in 0..count {
            let (id, kind) = (format!("e{}", self.events), ["a", "b"][self.choose(2) as usize]);
            self.events += 1;
            events.push(event(&id, kind));
            let sent = Sent {
                partition,
                kind,
                triggers: triggers.clone(),
                from,
                read: Default::default(),
            };
            self.book.lock().sent.insert(id, sent);
        }
        let ids: Vec<_> = events.iter().map(|event| event.id().to_owned()).collect();
        let log = self.servers_of(partition).log();
        let is_stored = log.append(events, Class::Producer).await.is_ok();
        let mut book = self.book.lock();
        book.tell(format!("{partition} has {ids:?} from {from} on: {is_stored}"));
        if is_stored {
            book.acknowledged.extend(ids);
        }
    }

    /// A process is killed, and others take over what it owned.
    async fn kill(&mut self) {
        let killed = self.choose(self.live.len() as u32) as usize;
        for partition in self.live[killed].channels.keys() {
            // What is on its way may be stored in part.
            self.servers_of(*partition).cut_off(self.choose(4) as usize);
        }
        let while_cut = u64::from(self.choose(300));
        tokio::time::sleep(Duration::from_millis(while_cut)).await;
        let killed = self.live.swap_remove(killed);
        self.book.lock().dead.insert(killed.number);
        let owned: Vec<u32> = killed.channels.keys().copied().collect();
        self.zombies.push(killed);
        self.hand_over(&owned);
    }

    /// A process is taken for dead, and goes on.
    fn outlive(&mut self) {
        let zombie = self.choose(self.live.len() as u32) as usize;
        let zombie = self.live.swap_remove(zombie);
        let owned: Vec<u32> = zombie.channels.keys().copied().collect();
        self.zombies.push(zombie);
        self.hand_over(&owned);
    }

    /// A clean stop and a start.
    async fn restart(&mut self) {
        let ends = self.choose(self.live.len() as u32) as usize;
        let ends = self.live.swap_remove(ends);
        ends.stop.cancel();
        let _ = ends.ended.await;
        for (partition, channel) in &ends.channels {
            let closed = channel.close().await;
            let line = format!("{} closed {partition}: {closed:?}", ends.number);
            self.book.lock().tell(line);
        }
        let owned: Vec<u32> = ends.channels.keys().copied().collect();
        self.hand_over(&owned);
    }

    /// One partition gets another owner. The one before may know it, or not yet.
    fn move_one(&mut self) {
        let partition = self.any().partition();
        let owner = self.owner(partition);
        let owner = &mut self.live[owner];
        owner.channels.remove(&partition);
        let owned = owner.owned.clone();
        if self.choose(2) == 0 {
            owned.lose(&name("default"), partition);
        }
        self.hand_over(&[partition]);
    }

    /// Somebody drops or redrives a parked event.
    async fn command(&mut self) {
        let all = ParkedQuery {
            limit: 100,
            ..ParkedQuery::default()
        };
        let channel = self.channel(self.any().partition());
        let parked = channel.parked(all).await.unwrap_or_default();
        if parked.is_empty() {
            return;
        }
        let one = &parked[self.choose(parked.len() as u32) as usize];
        let is_drop = self.choose(2) == 0;
        let done = match is_drop {
            true => channel.drop_parked(&one.id).await,
            false => channel.redrive(&one.id).await,
        };
        let mut book = self.book.lock();
        let what = if is_drop { "drop" } else { "redrive" };
        book.tell(format!("{what} of {}: {done:?}", one.id));
        book.commanded(one, is_drop, done.ok());
    }

    async fn pause(&mut self) {
        let channel = self.channel(self.any().partition());
        let mut lanes = channel.lanes().await.unwrap_or_default();
        lanes.retain(|lane| lane.state == LaneState::Active);
        if lanes.is_empty() {
            return;
        }
        let lane = &lanes[self.choose(lanes.len() as u32) as usize];
        let _ = channel.set_lane_state(lane.id, LaneState::Paused).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.resume().await;
    }

    pub(crate) async fn resume(&mut self) {
        for servers in &self.servers {
            let channel = self.channel(servers.partition());
            for lane in channel.lanes().await.unwrap_or_default() {
                if lane.state == LaneState::Paused {
                    let _ = channel.set_lane_state(lane.id, LaneState::Active).await;
                }
            }
        }
    }

    /// Somebody edits a trigger: it wants other events, it goes, or it comes.
    async fn edit(&mut self) {
        self.note_read().await;
        let trigger = TRIGGERS[self.choose(3) as usize];
        if self.choose(3) == 0 {
            self.documents.toggle(trigger);
        } else {
            let wants = Wants::EACH[self.choose(3) as usize];
            self.documents.want(trigger, wants);
        }
        let line = format!(
            "revision {}: {trigger} {:?}",
            self.documents.newest(),
            self.documents.of(trigger)
        );
        self.book.lock().tell(line);
        self.publish();
    }

    /// What is known to be read is judged by no filter that comes later.
    async fn note_read(&self) {
        let newest = self.documents.newest();
        for servers in &self.servers {
            let channel = self.channel(servers.partition());
            let router = channel.router().await.expect("known");
            for lane in channel.lanes().await.expect("known") {
                let reads_on = lane.cursor.unwrap_or(router);
                let read = servers.events().into_iter().filter(|(at, _)| *at < reads_on);
                let mut book = self.book.lock();
                for (_, id) in read {
                    if let Some(sent) = book.sent.get_mut(&id) {
                        let trigger = lane.trigger.name().to_owned();
                        sent.read.entry(trigger).or_insert(newest);
                    }
                }
            }
        }
    }

    /// An event that was delivered has a reply that is refused for good: a row of its own, as the dispatcher
    /// stores it. One for each trigger's event.
    async fn reply(&mut self) {
        let partition = self.any().partition();
        let channel = self.channel(partition);
        let router = channel.router().await.expect("known");
        let mut lanes = channel.lanes().await.expect("known");
        lanes.retain(|lane| lane.state == LaneState::Active);
        let mut settled = Vec::new();
        for (at, id) in self.servers_of(partition).events() {
            let lanes = lanes.iter().filter(|lane| is_settled(lane, router, at));
            settled.extend(lanes.map(|lane| (lane.clone(), at, format!("{id}-reply"))));
        }
        {
            let book = self.book.lock();
            let of = |lane: &Lane, id: &String| (lane.trigger.name().to_owned(), id.clone());
            settled.retain(|(lane, _, id)| !book.offered.contains(&of(lane, id)));
        }
        if settled.is_empty() {
            return;
        }
        let (lane, at, id) = settled.swap_remove(self.choose(settled.len() as u32) as usize);
        let of = (lane.trigger.name().to_owned(), id.clone());
        self.book.lock().offered.insert(of.clone());
        let row = Work {
            key: WorkKey {
                lane: lane.id,
                position: at,
                stage: Stage::Reply,
            },
            attempt: 0,
            due: self.clocks.lock()[0].steady(),
            open: false,
            crashes: 0,
            suspect: false,
            undecided: false,
            failures: Vec::new(),
            body: Some(event(&id, "reply")),
        };
        if channel.commit(vec![Change::Put(row)]).await.is_ok() {
            self.book.lock().replies.insert(of);
            // The dispatcher looks at its lanes' rows after a command.
            let _ = channel.set_lane_state(lane.id, LaneState::Active).await;
        }
    }

    /// Some of the events of a partition cannot be read, until the next time or until nothing goes wrong.
    fn hide(&self) {
        let servers = self.any();
        let ends = servers.log().ends()[0];
        let of = |choice: u32| Position {
            offset: ends.oldest.offset + u64::from(choice),
            ..ends.oldest
        };
        let length = (ends.head.offset - ends.oldest.offset) as u32;
        let (one, other) = (self.choose(length + 1), self.choose(length + 1));
        let (from, to) = (of(one.min(other)), of(one.max(other)));
        servers.hide(from, to);
        let line = format!("{} cannot be read from {from} to {to}", servers.partition());
        self.book.lock().tell(line);
    }

    /// The servers of a partition lose the newest events, and restart.
    fn lose(&mut self) {
        let servers = self.any();
        let partition = servers.partition();
        let ends = servers.log().ends()[0];
        let back = u64::from(self.choose(12)).min(ends.head.offset - ends.oldest.offset);
        let mut from = ends.head;
        from.offset -= back;
        let lost = servers.lose_suffix(from);
        self.book.lock().lose(partition, lost);
        let owner = self.owner(partition);
        self.live[owner].channels.remove(&partition);
        self.hand_over(&[partition]);
    }
}

//! Promise: a panic ends no task for good and loses nothing, and an event that provokes it each time is given
//! up. Events that filters are asked about in turns are neither lost, nor asked about twice, nor in the way
//! of others. Lanes without work own no task. Only what this process owns is served. A trigger made anew is
//! another one.

mod idle;
mod made_anew;
mod memory;
mod ownership;
mod panics;
mod turns;
mod world;

/**
 * Where a page is in time: live, standing still, or playing what has been. Pure: the clock is given.
 */

export const SPEEDS = [1, 10, 60, 600];

export class Playback {
  constructor() {
    this.mode = "live"; // live, still or play
    this.at = null; // the instant that is shown, null for now
    this.speed = 1;
    this.since = 0; // by the clock of whoever calls, when `at` was right
  }

  live() {
    this.mode = "live";
    this.at = null;
  }

  /** Stand still at an instant. */
  still(at) {
    this.mode = "still";
    this.at = at;
  }

  /** Go on from `at`; `clock` is the time of the call, in real ms. */
  play(at, speed, clock) {
    this.mode = "play";
    this.at = at;
    this.speed = speed;
    this.since = clock;
  }

  /** Move on to the time `clock` of the caller; what is played never overtakes `now`. */
  tick(clock, now) {
    if (this.mode !== "play") return;
    this.at += (clock - this.since) * this.speed;
    this.since = clock;
    if (this.at >= now) this.live();
  }
}

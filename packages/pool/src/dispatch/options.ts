/** What dispatch can be tuned by. The defaults suit segments of one to ten seconds and deadlines of seven and more. */
export interface DispatchOptions {
  /** A session without a job for this long is over, in milliseconds. */
  readonly sessionIdleMs: number;
  /**
   * Attempts of one session that may wait behind the running one on the same connection. Stock transcoders run a
   * session one by one and answer `TranscoderBusy` beyond four waiting.
   */
  readonly queuePerSession: number;
  /** Attempts of one job that may be open at once, hedges included; twice as many when its deadline is near. */
  readonly maxOpenAttempts: number;
  /** Attempts of one job in all; a job that failed so often is given up before its deadline. */
  readonly maxAttempts: number;
  /** Share of jobs that try out a rig which is new, on probation, up for retrial, or long without work; 0 to 1. */
  readonly exploreShare: number;
  /** A rig that got no work for this long is tried out too, in milliseconds: what is known of it has aged. */
  readonly staleMs: number;
  /** An attempt is late when it takes longer than this quantile of the rig's own times for that kind of work … */
  readonly lateQuantile: number;
  /** … times this factor, … */
  readonly lateFactor: number;
  /** … and longer than this, in milliseconds. */
  readonly lateMinMs: number;
  /** The factor while the rig's own times are not known and the pool's stand in for them. */
  readonly lateFactorUnknown: number;
  /** A result that began to arrive is not late for this much longer, in milliseconds. */
  readonly arrivingGraceMs: number;
  /** Hedges per job that are free to spend on merely late attempts; those that a deadline asks for come on top. */
  readonly hedgeShare: number;
  /** Hedges that may be saved up. More lets a pool answer a burst of lateness with a burst of second attempts. */
  readonly hedgeBurst: number;
  /** Time in which a rig that disconnected may come back before a job that needs it is given up, in milliseconds. */
  readonly returnGraceMs: number;
  /** The same for a pool that just started and whose rigs are on their way, in milliseconds. */
  readonly startGraceMs: number;
  /** A connection that answered `TranscoderBusy`, or took no task, is left alone for this long, in milliseconds. */
  readonly busyPauseMs: number;
  /** Pause before a job is tried again by a rig that failed it twice, in milliseconds; doubles with each failure. */
  readonly retryPauseMs: number;
  /** A connection that let an attempt run late without a sign of life is avoided this long, in milliseconds; doubles. */
  readonly silentPauseMs: number;
  readonly silentPauseMaxMs: number;
  /** Good results after which a new rig is trusted. */
  readonly newUntilResults: number;
  /** Weight of the newest outcome in a rig's success, 0 to 1. */
  readonly successWeight: number;
  /** A rig whose success falls below this goes on probation; 0 to 1. */
  readonly probationBelow: number;
  /** A rig on probation whose success falls below this is barred. */
  readonly barredBelow: number;
  /** A rig on probation is trusted again above this success … */
  readonly trustedAbove: number;
  /** … and after so many good results in a row. */
  readonly earnBackResults: number;
  /** Gross false claims after which a rig is barred. */
  readonly barredAfterLies: number;
  /** Slower than real time and this many times slower than the pool's usual for the same work: probation. */
  readonly slowFactor: number;
  /** A barred rig gets one job after this long, in milliseconds; doubles with each failed retrial. */
  readonly retrialMs: number;
  readonly retrialMaxMs: number;
  /** Good retrials in a row that lift a bar to probation. */
  readonly retrialResults: number;
  /** Rigs that are remembered after they left. */
  readonly rememberedRigs: number;
  /** Decisions kept for each rig. */
  readonly decisionsKept: number;
}

export const defaultDispatchOptions: DispatchOptions = {
  sessionIdleMs: 70_000,
  queuePerSession: 4,
  maxOpenAttempts: 4,
  maxAttempts: 10,
  exploreShare: 0.04,
  staleMs: 300_000,
  lateQuantile: 0.95,
  lateFactor: 1.5,
  lateMinMs: 300,
  lateFactorUnknown: 3,
  arrivingGraceMs: 1_500,
  hedgeShare: 0.1,
  hedgeBurst: 10,
  returnGraceMs: 15_000,
  startGraceMs: 10_000,
  busyPauseMs: 300,
  retryPauseMs: 250,
  silentPauseMs: 5_000,
  silentPauseMaxMs: 300_000,
  newUntilResults: 10,
  successWeight: 0.125,
  probationBelow: 0.6,
  barredBelow: 0.25,
  trustedAbove: 0.85,
  earnBackResults: 8,
  barredAfterLies: 4,
  slowFactor: 3,
  retrialMs: 60_000,
  retrialMaxMs: 3_600_000,
  retrialResults: 3,
  rememberedRigs: 5_000,
  decisionsKept: 48,
};

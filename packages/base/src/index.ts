export { createBackoff, type Backoff, type BackoffOptions } from "./backoff.ts";
export { stoppedClock, systemClock, type Clock, type StoppedClock } from "./clock.ts";
export { errorCode, errorText, PoolError } from "./error.ts";
export { silentLogger, type LogFields, type Logger } from "./log.ts";
export { feeWei, splitFee, type Price } from "./price.ts";
export { openScope, type Scope } from "./scope.ts";

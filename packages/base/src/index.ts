export { addressGroup } from "./address-group.ts";
export { formatEth, formatGwei, formatUnits } from "./amount.ts";
export { createBackoff, type Backoff, type BackoffOptions } from "./backoff.ts";
export { stoppedClock, systemClock, type Clock, type StoppedClock } from "./clock.ts";
export { csvLine } from "./csv.ts";
export { errorCode, errorText, PoolError } from "./error.ts";
export { createEventBudget } from "./event-budget.ts";
export { silentLogger, type LogFields, type Logger } from "./log.ts";
export { feeWei, splitFee, type Price } from "./price.ts";
export { nearest } from "./nearest.ts";
export { plainText } from "./plain-text.ts";
export {
  BadValue,
  option,
  type Option,
  type OptionDefinitions,
  optionFlag,
  type OptionInForce,
  type OptionProblem,
  type OptionSource,
  type OptionValues,
  optionVariable,
  type ResolvedOptions,
  resolveOptions,
  type ValueKind,
} from "./option.ts";
export {
  bigintValue,
  bytesValue,
  choicesValue,
  choiceValue,
  durationValue,
  formatHostPort,
  hideUrlPassword,
  type HostPort,
  hostPortValue,
  integerValue,
  pathValue,
  percentValue,
  switchValue,
  textValue,
  urlValue,
} from "./option-kinds.ts";
export { openScope, type Scope } from "./scope.ts";

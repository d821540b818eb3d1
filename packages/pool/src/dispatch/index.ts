export { Dispatcher } from "./dispatcher.ts";
export { type DispatchOptions, defaultDispatchOptions } from "./options.ts";
export type * from "./types.ts";

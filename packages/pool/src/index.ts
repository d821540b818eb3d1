export { type ListenAddress, type PoolOptions, poolOptions, type PoolSurroundings, toPoolOptions } from "./options.ts";

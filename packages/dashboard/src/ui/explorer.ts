import { createContext, use } from "react";

/** Where addresses and transactions of the pool's chain are looked up; null where its chain has no such place. */
export const Explorer = createContext<string | null>(null);

export function useExplorer(): string | null {
  return use(Explorer);
}

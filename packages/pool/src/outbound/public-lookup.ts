import { lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { isPrivateAddress } from "./private-address.ts";

/** Resolves like the system does, but only to addresses that `refuse` lets pass: checked at the moment of connecting. */
export function guardedLookup(refuse: (address: string) => boolean): LookupFunction {
  return (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      const allowed = (addresses ?? []).filter((one) => !refuse(one.address));
      const first = allowed[0];
      if (error || !first)
        callback(error ?? Object.assign(new Error(`${host} is no public address`), { code: "EACCES" }), "");
      else if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

/** Only to addresses of the internet: what a stranger names cannot be of the pool's own network. */
export const publicLookup = guardedLookup(isPrivateAddress);

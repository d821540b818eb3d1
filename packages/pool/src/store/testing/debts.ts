import type { WorkerAddress } from "@openpool/protocol";
import { Client } from "pg";
import { poolAccounts, workerAccount } from "../../ledger/types.ts";
import { postEntries } from "../ledger-store.ts";
import { clientConfig, type PgConnection } from "../pg-connection.ts";
import { newJob } from "./sample-credit.ts";

/** Lets a test's pool owe workers something, as work would have. */
export interface Debts extends AsyncDisposable {
  owe(worker: WorkerAddress, amountWei: bigint): Promise<WorkerAddress>;
}

export async function openDebts(connection: PgConnection): Promise<Debts> {
  const client = new Client(clientConfig(connection, "test"));
  client.on("error", () => {});
  await client.connect();
  return {
    async owe(worker, amountWei) {
      await postEntries(client, [
        {
          id: newJob(),
          source: `${newJob()}/test`,
          rule: "test",
          termsVersion: 1,
          atMs: Date.now(),
          postings: [
            { account: poolAccounts.gateway, amountWei: -amountWei },
            { account: workerAccount(worker, "owed"), amountWei },
          ],
          data: {},
        },
      ]);
      return worker;
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

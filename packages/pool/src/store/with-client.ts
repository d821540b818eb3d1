import { Client } from "pg";
import { clientConfig, type PgConnection } from "./pg-connection.ts";

/** Lends a connection of its own for a piece of work that is seldom done. `name` is what the server's operator reads. */
export async function withClient<T>(
  connection: PgConnection,
  name: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client(clientConfig(connection, `openpool ${name} ${process.pid}`));
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}

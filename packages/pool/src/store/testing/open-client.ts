import { Client } from "pg";
import { clientConfig, type PgConnection } from "../pg-connection.ts";

/** A connection of a measurement's own. */
export async function openClient(connection: PgConnection): Promise<Client> {
  const client = new Client({ ...clientConfig(connection, "openpool bench"), pipeline: true });
  await client.connect();
  return client;
}

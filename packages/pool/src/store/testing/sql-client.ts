import { Client } from "pg";
import { clientConfig, type PgConnection } from "../pg-connection.ts";

/** A connection for whoever makes or looks at data behind the store's back: one session, so that its settings stay. */
export async function openSqlClient(connection: PgConnection, name: string): Promise<Client> {
  const client = new Client(clientConfig(connection, name));
  await client.connect();
  return client;
}

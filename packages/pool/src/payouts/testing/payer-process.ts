/** A pool's payer as a process of its own, that may be told to kill itself. */
import { type PayerTask, payToTheEnd } from "./payer.ts";

const asked = await payToTheEnd(JSON.parse(process.argv[2] ?? "") as PayerTask);
process.stdout.write(`${asked}\n`);

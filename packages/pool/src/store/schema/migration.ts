/** One step of the schema. What has run somewhere is never edited: a change is a new step. */
export interface Migration {
  /** Unique; steps run in this order. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

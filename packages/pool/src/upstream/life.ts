/** A registration, and what was known of its orchestrator when it was about to begin. */
export interface Opening {
  /** SHA-256 of the certificate that it showed. */
  readonly fingerprint: string;
  /** Registrations are counted in the order in which they began. */
  readonly number: number;
  /** Which of its lives was known then, and the highest task id in it. */
  readonly life: number;
  readonly highestTask: bigint;
  /** Another registration with that life was there: a certificate that is new then is no sign of a new life. */
  readonly beside: boolean;
}

/**
 * Tells the lives of an orchestrator apart: a new one begins its task ids at 0, and takes an answer to the life before for its
 * own task's. A stock one makes a certificate at every start, and a registration never outlasts a life. So another certificate
 * is another life, unless a registration with the one before is still there: then it was renewed, by a proxy for instance. Behind
 * a proxy whose certificate stays, ids tell: they are counted over all registrations, so what comes on one of them has a higher
 * id than whatever came before it began.
 */
export class OrchestratorLives {
  #life = 0;
  /** That it has shown in this life, and in the one before. */
  #certificates: ReadonlySet<string> = new Set();
  #formerCertificates: ReadonlySet<string> = new Set();
  /** Of the registration on which this life was noticed. */
  #noticedOn = 0;
  #highestTask = -1n;
  #openings = 0;
  readonly #open = new Set<Opening>();

  get current(): number {
    return this.#life;
  }

  /** Ask before the registration is sent, and say when the orchestrator, or the way to it, has ended it. */
  opening(fingerprint: string): Opening {
    const opening: Opening = {
      fingerprint,
      number: this.#openings++,
      life: this.#life,
      highestTask: this.#highestTask,
      beside: this.#isAlive(),
    };
    this.#open.add(opening);
    return opening;
  }

  ended(opening: Opening): void {
    this.#open.delete(opening);
  }

  /** Whoever gave tasks on it is there. */
  isOpen(opening: Opening): boolean {
    return this.#open.has(opening);
  }

  /**
   * The life that a task is from. A greater one than before: it is new, and the one before is over. `isRunning`: a task of the
   * current life with this id is being done.
   */
  ofTask(from: Opening, taskId: bigint, isRunning: boolean): number {
    const isKnown = this.#certificates.has(from.fingerprint);
    if (!isKnown && from.number < this.#noticedOn) return from.life;
    const beginsAgain = isRunning || (from.life === this.#life && taskId <= from.highestTask);
    if (beginsAgain || !(isKnown || from.beside)) {
      this.#life++;
      this.#formerCertificates = this.#certificates;
      this.#certificates = new Set();
      this.#noticedOn = from.number;
      this.#highestTask = taskId;
    }
    if (!this.#certificates.has(from.fingerprint)) {
      this.#certificates = new Set([...this.#certificates, from.fingerprint].slice(-MAX_CERTIFICATES));
    }
    if (taskId > this.#highestTask) this.#highestTask = taskId;
    return this.#life;
  }

  /** Whether who shows this certificate is who gave a task of that life, on that registration. */
  takesAnswer(from: Opening, life: number, fingerprint: string): boolean {
    if (life !== this.#life) return this.#open.has(from) && fingerprint === from.fingerprint;
    if (this.#certificates.has(fingerprint)) return true;
    // A new certificate where the one who gave it is still there: it was renewed.
    return !this.#formerCertificates.has(fingerprint) && (this.#open.has(from) || this.#isAlive());
  }

  /** Some registration with this life is there. */
  #isAlive(): boolean {
    for (const { fingerprint, life, beside } of this.#open) {
      if (this.#certificates.has(fingerprint) || (beside && life === this.#life)) return true;
    }
    return false;
  }
}

/** Each renewal is one more; of those that long ago nobody is connected any more. */
const MAX_CERTIFICATES = 8;

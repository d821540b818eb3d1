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
  /** Whether whoever it was sent to is there now; nobody: then it ends soon. */
  answers(): Promise<boolean>;
}

/**
 * Tells the lives of an orchestrator apart: a new one begins its task ids at 0, and takes an answer to the life before for its
 * own task's. A stock one makes a certificate at every start, and a registration never outlasts a life. So another certificate
 * is another life, unless somebody still answers on a registration with the one before: then it was renewed, by a proxy for
 * instance. That a registration looks open says nothing, it does so for a while when an orchestrator died without a word. Behind
 * a proxy whose certificate stays, ids tell: they are counted over all registrations, so what comes on one of them has a higher
 * id than whatever came before it began. Until such an id comes, answers to the life before may reach the one after it.
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
  /** Questions whether the life of now is there still, by the certificate that they were asked for. */
  readonly #asking = new Map<string, Promise<boolean>>();

  get current(): number {
    return this.#life;
  }

  /** A registration was begun that has not ended, whichever life it is of. */
  get anyOpen(): boolean {
    return this.#open.size > 0;
  }

  /**
   * Ask before the registration is sent, and say when the orchestrator, or the way to it, has ended it. Looks first whether
   * the life of now is there, where the certificate is another than it has shown.
   */
  async opening(fingerprint: string, answers: () => Promise<boolean>): Promise<Opening> {
    const beside = this.#certificates.has(fingerprint)
      ? this.#ofThisLife().length > 0
      : await this.#isThere(fingerprint);
    const opening: Opening = {
      fingerprint,
      number: this.#openings++,
      life: this.#life,
      highestTask: this.#highestTask,
      beside,
      answers,
    };
    this.#open.add(opening);
    return opening;
  }

  ended(opening: Opening): void {
    this.#open.delete(opening);
  }

  /** Whoever gave tasks of a life before this one on it may be there still, and can be told from who is there now. */
  isOpen(opening: Opening): boolean {
    return this.#open.has(opening) && !this.#certificates.has(opening.fingerprint);
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
    this.#know(from.fingerprint);
    if (taskId > this.#highestTask) this.#highestTask = taskId;
    return this.#life;
  }

  /** Whether who shows this certificate is who gave a task of that life, on that registration. */
  async takesAnswer(from: Opening, life: number, fingerprint: string): Promise<boolean> {
    const isFormer = (): boolean => life !== this.#life;
    if (isFormer()) return this.isOpen(from) && fingerprint === from.fingerprint;
    if (this.#certificates.has(fingerprint)) return true;
    if (this.#formerCertificates.has(fingerprint)) return false;
    if (!(await this.#isThere(fingerprint)) || isFormer()) return false;
    this.#know(fingerprint);
    return true;
  }

  /** Whether somebody with this life answers, asked once that certificate was seen. */
  async #isThere(fingerprint: string): Promise<boolean> {
    let asking = this.#asking.get(fingerprint);
    if (!asking) {
      asking = anyTrue(this.#ofThisLife().map((opening) => opening.answers()));
      this.#asking.set(fingerprint, asking);
      void asking.then(() => this.#asking.delete(fingerprint));
    }
    return asking;
  }

  /** Registrations with this life that look open. */
  #ofThisLife(): readonly Opening[] {
    return [...this.#open].filter(
      ({ fingerprint, life, beside }) => this.#certificates.has(fingerprint) || (beside && life === this.#life),
    );
  }

  #know(fingerprint: string): void {
    if (this.#certificates.has(fingerprint)) return;
    this.#certificates = new Set([...this.#certificates, fingerprint].slice(-MAX_CERTIFICATES));
  }
}

/** Resolves as soon as one of them is. */
function anyTrue(answers: readonly Promise<boolean>[]): Promise<boolean> {
  return new Promise((resolve) => {
    for (const answer of answers) void answer.then((is) => is && resolve(true));
    void Promise.all(answers).then(() => resolve(false));
  });
}

/** Each renewal is one more; of those that long ago nobody is connected any more. */
const MAX_CERTIFICATES = 8;

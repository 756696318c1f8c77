import { TaskDelete, TaskExit } from '@flotilla/api/containerd/events/events'
import { Envelope } from '@flotilla/api/containerd/types/types'
import { type Exit, now } from './exit.ts'
import type { Journal } from './journal.ts'
import type { End, Ledger, ProcessKey } from './ledger.ts'

/** What is told of ends that were put on disk. */
export type OnEnd = (end: End, key: ProcessKey, exit: Exit) => void

interface ProcessEnd {
  readonly end: End
  readonly key: ProcessKey
  readonly exit: Exit
}

/** The end of a process that an event tells of; undefined for other events. */
function endOf(envelope: Envelope): ProcessEnd | undefined {
  const { event, namespace, topic } = envelope
  if (!event || (topic !== '/tasks/exit' && topic !== '/tasks/delete')) return undefined
  const end = topic === '/tasks/exit' ? 'exit' : 'delete'
  const told = end === 'exit' ? TaskExit.decode(event.value) : TaskDelete.decode(event.value)
  // An exit of the first process carries the container's id, its delete none.
  const execId = told.id === told.containerId ? '' : told.id
  return {
    end,
    key: { namespace, id: told.containerId, execId, pid: told.pid },
    exit: { pid: told.pid, status: told.exitStatus, at: told.exitedAt ?? now() },
  }
}

/**
 * Puts events in the journal, each end of a process once and never a delete before its exit, whatever order and
 * however often they come.
 */
export class Recorder {
  readonly #journal: Journal
  readonly #ledger: Ledger
  readonly #onEnd: OnEnd

  constructor(journal: Journal, ledger: Ledger, onEnd: OnEnd) {
    this.#journal = journal
    this.#ledger = ledger
    this.#onEnd = onEnd
  }

  /** Learns from the journal what was reported before a restart. */
  async recall(): Promise<void> {
    for await (const { envelope } of this.#journal.entries()) {
      const told = endOf(envelope)
      if (!told) continue
      this.#ledger.note(told.end, told.key, told.exit, false)
      this.#ledger.settled(told.end, told.key)
    }
  }

  /** Takes an event of a shim; resolves when it is on disk. */
  async record(envelope: Envelope): Promise<void> {
    const told = endOf(envelope)
    if (!told) {
      await this.#journal.append(envelope)
      return
    }
    const { end, exit, key } = told
    // A shim that could not reach us for a while may send its events in another order.
    const missing = end === 'delete' && this.#ledger.note('exit', key, exit, true)
    const fresh = this.#ledger.note(end, key, exit, false)
    await Promise.all([
      missing ? this.#append('exit', key, exit, exitEnvelope(key, exit)) : undefined,
      fresh ? this.#append(end, key, exit, envelope) : undefined,
    ])
  }

  /** Reports an end that the shim did not: it died, or its report was lost. Nothing happens when it did. */
  async synthesize(end: End, key: ProcessKey, exit: Exit): Promise<void> {
    if (!this.#ledger.note(end, key, exit, true)) return
    await this.#append(end, key, exit, end === 'exit' ? exitEnvelope(key, exit) : deleteEnvelope(key, exit))
  }

  async #append(end: End, key: ProcessKey, exit: Exit, envelope: Envelope): Promise<void> {
    try {
      await this.#journal.append(envelope)
    } catch (error) {
      this.#ledger.forget(end, key)
      throw error
    }
    this.#onEnd(end, key, exit)
    this.#ledger.settled(end, key)
  }
}

function exitEnvelope({ execId, id, namespace, pid }: ProcessKey, exit: Exit): Envelope {
  const event = TaskExit.fromPartial({
    containerId: id,
    id: execId || id,
    pid,
    exitStatus: exit.status,
    exitedAt: exit.at,
  })
  return Envelope.fromPartial({
    timestamp: now(),
    namespace,
    topic: '/tasks/exit',
    event: { typeUrl: 'containerd.events.TaskExit', value: Buffer.from(TaskExit.encode(event).finish()) },
  })
}

function deleteEnvelope({ execId, id, namespace, pid }: ProcessKey, exit: Exit): Envelope {
  const event = TaskDelete.fromPartial({
    containerId: id,
    id: execId,
    pid,
    exitStatus: exit.status,
    exitedAt: exit.at,
  })
  return Envelope.fromPartial({
    timestamp: now(),
    namespace,
    topic: '/tasks/delete',
    event: { typeUrl: 'containerd.events.TaskDelete', value: Buffer.from(TaskDelete.encode(event).finish()) },
  })
}

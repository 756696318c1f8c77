import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { Node, NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { subjectToken } from '@flotilla/bus'
import {
  claimNodeName,
  type Metadata,
  nobody,
  nodeRecord,
  takeOverNodeName,
  toMillis,
  wasRemoved,
} from '@flotilla/metadata'
import { alreadyExists, failedPrecondition, unavailable } from '@flotilla/rpc'
import type { NatsConnection } from 'nats'

/** Milliseconds that the holder of a name has to say so. */
const patience = 2_000
/** Milliseconds since its last sign of life for which a machine that does not answer keeps its name. */
const keeps = 30_000

const holderSubject = (name: string) => `flotilla.node-holder.${subjectToken(name)}`

export interface Joining {
  readonly metadata: Metadata
  readonly nats: NatsConnection
  readonly name: string
  /** The daemon's root directory: with it goes what the machine is known by. */
  readonly root: string
}

/** A name that this machine has. Disposing it stops answering for the name; the machine keeps it. */
export interface Membership extends Disposable {
  /** What the machine has the name as. */
  readonly holder: string
}

/**
 * Takes the node's name for this machine, or rather for its root directory: a restart finds its name again, also after
 * kill -9.
 *
 * @throws ALREADY_EXISTS when another machine has the name and is there, or was a moment ago; FAILED_PRECONDITION when
 *   the node was removed, and with it the records of what its root directory holds
 */
export async function joinCluster({ metadata, name, nats, root }: Joining): Promise<Membership> {
  const mine = identity(root)
  if (await wasRemoved(metadata, mine))
    throw failedPrecondition(
      `this machine was removed from the cluster, and what it had is not recorded any more: empty ${root} to join again`,
    )
  for (;;) {
    const holder = await claimNodeName(metadata, name, mine)
    if (holder === mine) break
    if (holder === nobody)
      throw unavailable(`node name "${name}" is being removed from the cluster: when that is done it can be had again`)
    await requireGone(metadata, nats, name, holder)
    if (await takeOverNodeName(metadata, name, holder, mine)) break
  }
  const answers = nats.subscribe(holderSubject(name), {
    callback: (error, message) => {
      if (!error) message.respond(Buffer.from(mine))
    },
  })
  return { holder: mine, [Symbol.dispose]: () => answers.unsubscribe() }
}

/** What a machine is known by: made once, kept in its root directory. */
function identity(root: string): string {
  const directory = join(root, 'flotilla.node.v1')
  const file = join(directory, 'identity')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  try {
    writeFileSync(file, `${hostname()} ${randomUUID()}`, { flag: 'wx', mode: 0o600, flush: true })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  }
  return readFileSync(file, 'utf8')
}

async function requireGone(metadata: Metadata, nats: NatsConnection, name: string, holder: string): Promise<void> {
  const taken = (when: string) =>
    alreadyExists(
      `node name "${name}" is in use by another machine (host "${holder.split(' ')[0]}", ${when}): ` +
        'choose another with --node-name, or remove that node from the cluster first',
    )
  const answer = await nats.request(holderSubject(name), undefined, { timeout: patience }).catch(() => undefined)
  if (answer?.string() === holder) throw taken('which answers')
  const bytes = await nodeRecord(metadata, name)
  const last = bytes === undefined ? undefined : Node.decode(bytes)
  if (last === undefined || last.status === NodeStatus.NODE_STATUS_NOT_READY) return
  const age = Date.now() - (last.seenAt === undefined ? 0 : toMillis(last.seenAt))
  if (age < keeps) throw taken(`seen ${Math.max(0, Math.round(age / 1_000))} s ago`)
}

import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** One node of a cluster on this machine. */
export interface PlannedNode {
  readonly name: string
  readonly ip: string
  /** Of the network namespace. */
  readonly netns: string
  /** The host's end of its cable. */
  readonly link: string
  /** Of its process; 0 while it does not run. */
  pid: number
}

/** What a cluster's directory says of it. */
export interface Plan {
  readonly bridge: string
  readonly gateway: string
  readonly subnet: string
  readonly password: string
  /** Of the process that runs Redis and NATS. */
  keeper: number
  readonly nodes: PlannedNode[]
}

export const ports = { redis: 6379, nats: 4222, peers: 7000, endpoint: 7443 } as const

const fileOf = (dir: string) => join(dir, 'cluster.json')

export function readPlan(dir: string): Plan | undefined {
  return existsSync(fileOf(dir)) ? (JSON.parse(readFileSync(fileOf(dir), 'utf8')) as Plan) : undefined
}

export function writePlan(dir: string, plan: Plan): void {
  writeFileSync(`${fileOf(dir)}.new`, JSON.stringify(plan, undefined, 2), { mode: 0o600 })
  renameSync(`${fileOf(dir)}.new`, fileOf(dir))
}

/**
 * Names and addresses for a cluster in a directory: made from its path, so that clusters in different directories do
 * not meet.
 *
 * @param taken whether an IPv4 network (`10.1.2.`) is in use on this machine
 */
export function planFor(dir: string, count: number, taken: (network: string) => boolean): Plan {
  const hash = createHash('sha256').update(dir).digest()
  const id = hash.toString('hex').slice(0, 6)
  let network = ''
  for (let at = 0; network === ''; at++) {
    const third = ((hash[4] ?? 0) + at) % 256
    const candidate = `10.${200 + ((hash[3] ?? 0) % 40)}.${third}.`
    if (!taken(candidate)) network = candidate
    else if (at > 255) throw new Error('no free network below 10.200.0.0')
  }
  return {
    bridge: `fl${id}`,
    gateway: `${network}1`,
    subnet: `${network}0/24`,
    password: randomBytes(24).toString('hex'),
    keeper: 0,
    nodes: Array.from({ length: count }, (_, index) => {
      const name = nameOf(index)
      return { name, ip: `${network}${index + 2}`, netns: `fl${id}-${name}`, link: `fl${id}v${name}`, pid: 0 }
    }),
  }
}

/** a … z, aa, ab … */
function nameOf(index: number): string {
  const letter = String.fromCharCode(97 + (index % 26))
  return index < 26 ? letter : nameOf(Math.floor(index / 26) - 1) + letter
}

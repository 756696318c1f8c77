import { execFileSync } from 'node:child_process'
import type { Plan, PlannedNode } from './plan.ts'

/** `ip ARGS`; throws with what it said. */
function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

const exists = (...args: string[]): boolean => {
  try {
    ip(...args)
    return true
  } catch {
    return false
  }
}

export const inUse = (network: string): boolean => ip('-o', '-4', 'addr').includes(` ${network}`)

/** A bridge on this machine, and for each node a namespace with a cable to it. */
export function makeNetwork({ bridge, gateway, nodes }: Plan): void {
  ip('link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0')
  ip('addr', 'add', `${gateway}/24`, 'dev', bridge)
  ip('link', 'set', bridge, 'up')
  for (const node of nodes) {
    ip('netns', 'add', node.netns)
    ip('link', 'add', node.link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', node.netns)
    ip('link', 'set', node.link, 'master', bridge, 'up')
    for (const args of [
      ['addr', 'add', `${node.ip}/24`, 'dev', 'eth0'],
      ['link', 'set', 'lo', 'up'],
      ['link', 'set', 'eth0', 'up'],
      ['route', 'add', 'default', 'via', gateway],
    ])
      ip('-n', node.netns, ...args)
  }
}

export function removeNetwork({ bridge, nodes }: Plan): void {
  for (const { link, netns } of nodes) {
    if (exists('link', 'show', link)) ip('link', 'del', link)
    if (exists('netns', 'pids', netns)) ip('netns', 'del', netns)
  }
  if (exists('link', 'show', bridge)) ip('link', 'del', bridge)
}

/** Pulls a node's cable, so that nobody hears from it, not even that it has gone. */
export const cut = ({ link }: PlannedNode): void => void ip('link', 'set', link, 'down')
export const mend = ({ link }: PlannedNode): void => void ip('link', 'set', link, 'up')

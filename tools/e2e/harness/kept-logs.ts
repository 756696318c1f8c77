import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { System } from './system.ts'
import { repository } from './versions.ts'

/** Whether a line of a log helps with a failed test: what was said of its namespaces, and whatever is no mere record. */
function tells(line: string, namespaces: readonly string[]): boolean {
  if (namespaces.some((namespace) => line.includes(namespace))) return true
  return line !== '' && !/^\{"level":"(debug|trace)"|level=(info|debug)/.test(line)
}

/**
 * Keeps what a system's logs say about a failed test, since the logs go with their world, and says where. With the
 * namespaces of the test only lines that concern them or are warnings are kept; without, all.
 */
export function keepLogs(system: System, test: string, namespaces?: readonly string[]): void {
  const home = join(repository, '.work/logs')
  mkdirSync(home, { recursive: true })
  const parts: string[] = []
  for (const log of system.logs) {
    try {
      const lines = readFileSync(log, 'utf8').split('\n')
      const kept = namespaces === undefined ? lines : lines.filter((line) => tells(line, namespaces))
      if (kept.length > 0) parts.push(`==> ${basename(log)}`, ...kept)
    } catch (error) {
      parts.push(`==> ${log} could not be read: ${error}`)
    }
  }
  const copy = join(home, `${system.kind}-${test.replace(/[^a-z0-9]+/gi, '-').slice(0, 80)}-${Date.now()}.log`)
  writeFileSync(copy, `${parts.join('\n')}\n`)
  console.error(`what the logs say about the failed test "${test}": ${copy}`)
}

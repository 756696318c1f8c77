import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Stdio } from './bridges.ts'

/** What is written beside the FIFOs of a bridge, so that it outlives the agent as they do. */
export interface SavedBridge {
  readonly key: string
  readonly clientNode: string
  readonly client: Stdio
  /** The shim has opened its ends. */
  readonly started: boolean
  /** The process's input was closed. */
  readonly closing: boolean
}

const fileOf = (directory: string) => join(directory, 'bridge.json')

export function saveBridge(directory: string, saved: SavedBridge): void {
  writeFileSync(`${fileOf(directory)}.new`, JSON.stringify(saved), { mode: 0o600 })
  renameSync(`${fileOf(directory)}.new`, fileOf(directory))
}

/** Undefined where the agent ended before there was a process. */
export function readSaved(directory: string): SavedBridge | undefined {
  try {
    return JSON.parse(readFileSync(fileOf(directory), 'utf8')) as SavedBridge
  } catch {
    return undefined
  }
}

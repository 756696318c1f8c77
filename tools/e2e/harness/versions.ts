import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** A release of containerd whose unmodified client drives the tests. */
export interface Version {
  readonly name: '1.6' | '1.7' | '2.1'
  /** Directory of its programs; undefined for those on PATH, which are Debian 12's. */
  readonly bin: string | undefined
  readonly present: boolean
}

export const repository = join(import.meta.dirname, '../../..')

function unpacked(name: '1.7' | '2.1'): Version {
  const home = join(repository, '.work/containerd', name)
  return { name, bin: join(home, 'usr/bin'), present: existsSync(join(home, 'VERSION')) }
}

export const debian12: Version = { name: '1.6', bin: undefined, present: true }

/** Those that tools/install could get are present; the others' tests are shown as skipped. */
export const versions: readonly Version[] = [debian12, unpacked('1.7'), unpacked('2.1')]

export function programOf(version: Version, program: string): string {
  return version.bin === undefined ? program : join(version.bin, program)
}

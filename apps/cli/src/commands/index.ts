import type { Command } from '../command.ts'
import { completion, names } from './completion.ts'
import { events } from './events.ts'
import { exec } from './exec.ts'
import { images } from './images.ts'
import { kill } from './kill.ts'
import { logs } from './logs.ts'
import { nodes } from './nodes.ts'
import { pki } from './pki.ts'
import { ps } from './ps.ts'
import { pull } from './pull.ts'
import { rm } from './rm.ts'
import { run } from './run.ts'
import { top } from './top.ts'
import { version } from './version.ts'

/** Every command, in the order of help. */
export const commands: readonly Command[] = [
  ...nodes,
  ps,
  run,
  exec,
  logs,
  kill,
  rm,
  pull,
  images,
  events,
  top,
  ...pki,
  completion(() => commands),
  version,
  names,
]

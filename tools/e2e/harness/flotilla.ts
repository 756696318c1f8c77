import { join } from 'node:path'
import { finish, type Invocation as ProgramInvocation, type Result, type Running, startProgram } from './program.ts'
import { repository } from './versions.ts'

const program = join(repository, 'tools/flotilla')

export interface Invocation extends ProgramInvocation {
  readonly input?: string
}

export function startFlotilla(invocation: Invocation): Running {
  return startProgram(`flotilla ${invocation.args.join(' ')}`, program, invocation)
}

/** Runs `flotilla` to its end. */
export async function runFlotilla(invocation: Invocation): Promise<Result> {
  return await finish(startFlotilla(invocation), invocation, invocation.input)
}

import { finish, type Invocation, type Result, type Running, startProgram } from './program.ts'
import { programOf, type Version } from './versions.ts'

export interface CtrInvocation extends Invocation {
  readonly address: string
  readonly version: Version
  readonly namespace?: string
}

export type CtrResult = Result

/** A `ctr` that runs. */
export type RunningCtr = Running

export function startCtr(invocation: CtrInvocation): RunningCtr {
  const namespace = invocation.namespace === undefined ? [] : ['--namespace', invocation.namespace]
  const args = ['--address', invocation.address, ...namespace, ...invocation.args]
  return startProgram(`ctr ${invocation.args.join(' ')}`, programOf(invocation.version, 'ctr'), { ...invocation, args })
}

/** Runs an unmodified `ctr` to its end. */
export async function runCtr(invocation: CtrInvocation & { readonly input?: string | Buffer }): Promise<CtrResult> {
  return await finish(startCtr(invocation), invocation, invocation.input)
}

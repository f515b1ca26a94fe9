/** `blockgate`: the gateway for programs that embed it. */

export { GatewayError } from './api/errors.ts';
export type { Holder } from './api/frontend.ts';
export type { StackLayer } from './app/disk-stack.ts';
export type { GatewayEvent, GatewayObserver } from './app/gateway-events.ts';
export { type RunGatewayOptions, type RunningGateway, runGateway } from './app/run-gateway.ts';
export type { DiskDetails } from './app/running-disk.ts';

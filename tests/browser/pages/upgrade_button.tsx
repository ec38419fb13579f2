import { createRoot } from "react-dom/client";
import { MilanaProvider } from "milana-js/react";
// From here to the end of the component: as Milana's page about updateUser has it.
import { useMilana } from "milana-js/react";

function UpgradeButton() {
  const { updateUser } = useMilana();

  const handleUpgrade = async (newPlan: string) => {
    await billing.upgrade(newPlan);
    void updateUser({
      userId: currentUser.id,
      metadata: { plan: newPlan },
    });
  };

  return <button onClick={() => handleUpgrade("pro")}>Upgrade</button>;
}

// What that page takes for granted.
declare const keys: { product: string; client: string; endpoint: string };
const currentUser = { id: "u-1" };
const billing = { upgrade: async (plan: string) => void (document.title = `paid for ${plan}`) };

createRoot(document.querySelector("main")!).render(
  <MilanaProvider
    productId={keys.product}
    clientKey={keys.client}
    sessionInfo={{ environment: "test", version: "9.9.9" }}
    options={{ endpoint: keys.endpoint }}
  >
    <UpgradeButton />
  </MilanaProvider>,
);
